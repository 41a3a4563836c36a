/** Deleting a device that the kernel may take away by itself. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { exec } from '#base/exec.ts';
import { KeptShell } from '#base/keptShell.ts';
import { removeDevice } from '#base/removeDevice.ts';
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

test('a script’s removal of a device is no error where the kernel was first, and is one where it fails', async (t) => {
  const shell = new KeptShell('sh', []);
  t.after(() => shell.close());
  const name = `ptr${process.pid}`;
  const add = `ip link add ${name} type veth peer name ${name}p\n`;
  const first = 'ip() { command ip "$@"; command ip "$@"; }\n';
  assert.equal(await shell.run(`${add}${first}${removeDevice(name)}echo on`, 10_000), 'on\n');
  for (const end of [name, `${name}p`]) assert.ok(!existsSync(`/sys/class/net/${end}`), end);
  assert.equal(await shell.run(`${removeDevice(name)}echo on`, 10_000), 'on\n');
  await assert.rejects(shell.run(`${removeDevice('lo')}echo on`, 10_000), /lo/);
});
