import assert from 'node:assert/strict';
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { treeOf } from '#card/program/trees.ts';
import { codeDirectory } from '#node/directory.ts';
import { keepProgram, keptPrograms } from '#node/programs.ts';

test('a version is kept by the digest of its code; what is kept and was changed is no version any more', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'pando-programs-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const [programs, tree] = [join(dir, 'programs'), join(dir, 'tree')];
  assert.deepEqual(keptPrograms(programs), []);
  assert.throws(() => keepProgram(programs, join(dir, 'nothing')), /name a directory with Pando's code/);
  mkdirSync(join(tree, 'src/card'), { recursive: true });
  writeFileSync(join(tree, 'src/card/main.ts'), '1');
  writeFileSync(join(tree, 'package.json'), '{}');
  writeFileSync(join(tree, 'package-lock.json'), '{}');
  assert.throws(() => keepProgram(programs, tree), /npm ci there first/);
  cpSync(join(codeDirectory, 'package-lock.json'), join(tree, 'package-lock.json'));
  const first = keepProgram(programs, tree);
  assert.equal(first.isNew, true);
  assert.deepEqual(keepProgram(programs, tree), { ...first, isNew: false });
  writeFileSync(join(tree, 'src/card/main.ts'), '2');
  const second = keepProgram(programs, tree);
  assert.deepEqual(keptPrograms(programs), [first.version, second.version].sort());
  assert.equal(treeOf(first.version, programs), join(programs, first.version));

  // The directory that it has its packages from is gone.
  rmSync(join(programs, first.version, 'node_modules'));
  symlinkSync(join(dir, 'gone'), join(programs, first.version, 'node_modules'));
  assert.deepEqual(keptPrograms(programs), [second.version]);
  writeFileSync(join(tree, 'src/card/main.ts'), '1');
  assert.deepEqual(keepProgram(programs, tree), first, 'kept anew');
  assert.deepEqual(keptPrograms(programs), [first.version, second.version].sort());

  appendFileSync(join(programs, first.version, 'src/card/main.ts'), '// by hand');
  assert.throws(() => treeOf(first.version, programs), /What is kept here as program/);
  assert.equal(keepProgram(programs, tree).isNew, true, 'kept anew');
  assert.equal(treeOf(first.version, programs), join(programs, first.version));
});
