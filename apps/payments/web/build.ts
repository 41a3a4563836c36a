/** Builds the pages into dist/ unless they are there already, built from these very sources. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const home = import.meta.dirname;
const stamp = join(home, 'dist', '.sources.sha256');

/** SHA-256 over everything that the build reads: names and contents. */
export function sourcesDigest(): string {
  const files = globSync(
    ['{src,public}/**/*.*', '../src/contract/*.ts', 'index.html', 'package-lock.json', 'vite.config.ts'],
    { cwd: home },
  ).sort();
  const hash = createHash('sha256');
  for (const file of files)
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(home, file)))
      .update('\0');
  return hash.digest('hex');
}

/** Whether anything had to be built. Throws with the builder's output where that fails. */
export function ensurePages(): boolean {
  const wanted = sourcesDigest();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8').trim() === wanted) return false;
  const built = spawnSync(process.execPath, [join(home, 'node_modules/vite/bin/vite.js'), 'build'], {
    cwd: home,
    encoding: 'utf8',
  });
  if (built.status !== 0) throw new Error(`vite build failed:\n${built.stdout}${built.stderr}`);
  writeFileSync(stamp, `${wanted}\n`);
  return true;
}

if (import.meta.main) process.stdout.write(ensurePages() ? 'built\n' : 'up to date\n');
