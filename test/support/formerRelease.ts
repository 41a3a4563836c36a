/** The code of a former commit, to be run beside this one's. */
import { chmodSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { codeDirectory } from '#node/directory.ts';

/** The release before this one, as it landed. */
export const lastRelease = '31b7b1ad';

/** Whether this clone has the commit. */
export const isKnown = (commit: string): Promise<boolean> =>
  exec('git', ['-C', codeDirectory, 'cat-file', '-e', `${commit}^{commit}`]).then(
    () => true,
    () => false,
  );

/** A directory with the commit's code and the packages of this one: its lock file asks for no others. */
export async function checkOut(commit: string): Promise<string> {
  const tree = mkdtempSync(join(tmpdir(), 'pando-last-'));
  // Its processes run as users of their own.
  chmodSync(tree, 0o755);
  const archive = join(tree, 'archive.tar');
  await exec('git', ['-C', codeDirectory, 'archive', '--output', archive, commit]);
  await exec('tar', ['--extract', '--no-same-owner', '--file', archive, '--directory', tree]);
  rmSync(archive);
  await givePackages(tree);
  return tree;
}

/** By links to the files, so that the tree's processes reach them also where this clone lies in a home that is closed to others. */
async function givePackages(tree: string): Promise<void> {
  const [from, to] = [join(codeDirectory, 'node_modules'), join(tree, 'node_modules')];
  try {
    await exec('cp', ['--archive', '--link', from, to]);
  } catch {
    // On another file system.
    rmSync(to, { recursive: true, force: true });
    symlinkSync(from, to);
  }
}
