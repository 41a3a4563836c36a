/** Overwriting: whatever is below a path reads back as zeros through another name, and what cannot be overwritten is left and told. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { WipeError, wipe } from '#base/wipe.ts';
import { keptPaths, writeKept } from '#base/writeAtomically.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'pando-wipe-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

test('every file below is overwritten, of any size, and all of it is removed', async () => {
  const tree = join(dir, 'tree');
  await mkdir(join(tree, 'deep', 'er'), { recursive: true });
  const sizes = { empty: 0, small: 7, 'deep/chunk': 1024 * 1024, 'deep/er/odd': 2 * 1024 * 1024 + 13 };
  for (const [name, size] of Object.entries(sizes)) {
    await writeFile(join(tree, name), Buffer.alloc(size, 'secret'));
    await link(join(tree, name), join(dir, name.replaceAll('/', '-')));
  }
  assert.deepEqual(await wipe(tree), { files: 4 });
  assert.equal(await exists(tree), false);
  for (const [name, size] of Object.entries(sizes))
    assert.ok((await readFile(join(dir, name.replaceAll('/', '-')))).equals(Buffer.alloc(size)), name);
  assert.deepEqual(await wipe(tree), { files: 0 }, 'again: nothing');
});

test('holes stay holes: overwriting takes no room', async () => {
  const path = join(dir, 'sparse');
  await writeFile(path, 'secret');
  await truncate(path, 64 * 1024 * 1024);
  await link(path, join(dir, 'kept'));
  await wipe(path);
  const { blocks, size } = await stat(join(dir, 'kept'));
  assert.equal(size, 64 * 1024 * 1024);
  assert.ok(blocks * 512 < 1024 * 1024);
  assert.ok(!(await readFile(join(dir, 'kept'))).includes('secret'));
});

test('links are removed and never followed, a FIFO is not waited for', async () => {
  const [outside, tree] = [join(dir, 'outside'), join(dir, 'tree')];
  await writeFile(outside, 'of somebody else');
  await mkdir(tree);
  await symlink(outside, join(tree, 'link'));
  execFileSync('mkfifo', [join(tree, 'fifo')]);
  await wipe(tree);
  assert.equal(await readFile(outside, 'utf8'), 'of somebody else');
  assert.equal(await exists(tree), false);
});

test('a file that claims far more than it has is left as it is, and told', async () => {
  const path = join(dir, 'endless');
  await writeFile(path, 'secret');
  await truncate(path, 4 * 1024 ** 4);
  await assert.rejects(wipe(path), WipeError);
  assert.ok(await exists(path));
});

test('a text that is replaced again and again leaves no block that wiping its paths does not reach', async () => {
  const path = join(dir, 'record.json');
  const inodes = new Set<number>();
  for (let length = 40; length > 0; length--) {
    const value = { secret: 'x'.repeat(length * 997) };
    await writeKept(path, JSON.stringify(value));
    assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), value);
    for (const name of await readdir(dir)) inodes.add((await stat(join(dir, name))).ino);
  }
  assert.equal(inodes.size, 2, 'two files took turns');
  for (const kept of keptPaths(path)) await wipe(kept);
  assert.deepEqual(await readdir(dir), []);
});

test('a writer that died between two names loses nothing: the next one goes on', async () => {
  const path = join(dir, 'record.json');
  await writeKept(path, '"one"');
  await writeKept(path, '"two"');
  const [, spare = '', leaving = ''] = keptPaths(path);
  // Between the link and the renames.
  await rm(spare);
  await link(path, leaving);
  await writeKept(path, '"three"');
  assert.equal(JSON.parse(await readFile(path, 'utf8')), 'three');
  await writeKept(path, '"four"');
  assert.equal(JSON.parse(await readFile(path, 'utf8')), 'four');
});
