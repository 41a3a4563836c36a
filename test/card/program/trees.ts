/** Versions of the card's program that a test makes: this code, with a change. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keepProgram } from '#node/programs.ts';

const home = join(import.meta.dirname, '../../..');

/** Keeps this code with `change` made to one of its files; answers the version. */
export const keepChanged = (programsDir: string, file: string, change: (text: string) => string): string => {
  const tree = mkdtempSync(join(tmpdir(), 'pando-tree-'));
  try {
    for (const part of ['src', 'package.json', 'package-lock.json'])
      cpSync(join(home, part), join(tree, part), { recursive: true });
    symlinkSync(join(home, 'node_modules'), join(tree, 'node_modules'));
    const path = join(tree, file);
    const before = readFileSync(path, 'utf8');
    const after = change(before);
    if (after === before) throw new Error(`${file} is as before`);
    writeFileSync(path, after);
    return keepProgram(programsDir, tree).version;
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
};
