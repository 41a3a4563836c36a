/** Deleting a device that the kernel may take away by itself. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { exec } from '#base/exec.ts';
import { deleteLink } from '#lab/links.ts';

test('a device is gone afterwards; one that is gone already is no error, also when two delete it at once', async () => {
  const name = `ptl${process.pid}`;
  for (let round = 0; round < 5; round++) {
    await exec('ip', ['link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`]);
    await Promise.all([deleteLink(name), deleteLink(`${name}p`), deleteLink(name)]);
    for (const end of [name, `${name}p`]) assert.ok(!existsSync(`/sys/class/net/${end}`), end);
  }
  await deleteLink(name);
});

test('one that is there still is told', async () => {
  await assert.rejects(deleteLink('lo'), /The device lo was not deleted: .+/);
});
