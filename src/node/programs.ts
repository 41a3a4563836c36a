/** Versions of the card's program that a machine keeps, so that a rollout may name them: each a directory named by the digest of its code. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { codeDigestOf } from '#base/codeDigest.ts';
import { codeDirectory } from './directory.ts';

const lockFile = 'package-lock.json';
const main = 'src/card/main.ts';

/** @throws Error for people: this is no tree of Pando's, or its packages are not installed */
const packagesOf = (tree: string): string => {
  for (const file of [main, lockFile, 'package.json'])
    if (!existsSync(join(tree, file)))
      throw new Error(
        `${tree} has no ${file}: name a directory with Pando's code, for example a git worktree.`,
      );
  const own = join(tree, 'node_modules');
  if (existsSync(own)) return realpathSync(own);
  const lockOf = (directory: string): string => readFileSync(join(directory, lockFile), 'utf8');
  if (lockOf(tree) === lockOf(codeDirectory)) return realpathSync(join(codeDirectory, 'node_modules'));
  throw new Error(`${tree} needs other packages than this machine has: npm ci there first.`);
};

/** The directory that a kept version has its packages from may be gone. */
const hasPackages = (kept: string): boolean => existsSync(join(kept, 'node_modules'));

/** Keeps the code in `tree` as a version; one that is kept already stays as it is. Its packages stay where they are. */
export const keepProgram = (programsDir: string, tree: string): { version: string; isNew: boolean } => {
  const packages = packagesOf(tree);
  const version = codeDigestOf('card', tree);
  const kept = join(programsDir, version);
  if (hasPackages(kept) && codeDigestOf('card', kept) === version) return { version, isNew: false };
  const coming = `${kept}.new`;
  for (const path of [coming, kept]) rmSync(path, { recursive: true, force: true });
  mkdirSync(coming, { recursive: true, mode: 0o700 });
  for (const part of ['src', 'package.json', lockFile])
    cpSync(join(tree, part), join(coming, part), { recursive: true });
  symlinkSync(packages, join(coming, 'node_modules'));
  renameSync(coming, kept);
  return { version, isNew: true };
};

/** Versions that are kept here and can run. */
export const keptPrograms = (programsDir: string): string[] =>
  existsSync(programsDir)
    ? readdirSync(programsDir)
        .filter((name) => /^[0-9a-f]{16}$/.test(name) && hasPackages(join(programsDir, name)))
        .sort()
    : [];
