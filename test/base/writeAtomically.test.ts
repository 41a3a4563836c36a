import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeAtomically, writeAtomicallySync, writeWhole } from '#base/writeAtomically.ts';

test('a file is replaced as a whole, private to its owner, and nothing is left beside it', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'pando-write-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const path = join(root, 'file');
  for (const [at, write] of [writeAtomically, writeAtomicallySync, writeWhole, writeAtomically].entries()) {
    const before = at === 0 ? 0 : statSync(path).ino;
    await write(path, `text ${at}`);
    assert.equal(readFileSync(path, 'utf8'), `text ${at}`);
    assert.notEqual(statSync(path).ino, before);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  }
  assert.deepEqual(readdirSync(root), ['file']);
  for (const write of [writeAtomically, writeWhole])
    await assert.rejects(write(join(root, 'absent', 'file'), 'x'), { code: 'ENOENT' });
  assert.throws(() => writeAtomicallySync(join(root, 'absent', 'file'), 'x'), { code: 'ENOENT' });
});
