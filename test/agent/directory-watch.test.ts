import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DirectoryWatch } from '#agent/directory-watch.ts';

const directory = mkdtempSync(join(tmpdir(), 'pando-watch-'));
after(() => rmSync(directory, { recursive: true }));

const longMs = 60_000;

test('a wait ends when something appears, also if that was before the wait', async () => {
  using watch = new DirectoryWatch(directory);
  assert.equal(watch.hasChanged, false);
  const waiting = watch.change(longMs);
  writeFileSync(join(directory, 'a'), '');
  await waiting;
  assert.equal(watch.hasChanged, true);
  await watch.change(longMs);
});

test('a wait ends without a change', async () => {
  using watch = new DirectoryWatch(directory);
  await watch.change(5);
  assert.equal(watch.hasChanged, false);
});

test('a directory that is not there is nothing to watch, and no error', async () => {
  using watch = new DirectoryWatch(join(directory, 'absent'));
  await watch.change(5);
  assert.equal(watch.hasChanged, false);
});
