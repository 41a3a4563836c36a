/** Builds the pages into dist/ unless they are there already, built from these very sources. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const home = import.meta.dirname;
const stamp = join(home, 'dist', '.sources.sha256');
const lock = join(home, 'node_modules', '.pages.lock');
const pollMs = 100;
const lockMsMax = 120_000;

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

const isBuilt = (digest: string): boolean =>
  existsSync(stamp) && readFileSync(stamp, 'utf8').trim() === digest;

/** Whether anything had to be built. Throws with the builder's output where that fails. */
export function ensurePages(): boolean {
  const wanted = sourcesDigest();
  if (isBuilt(wanted)) return false;
  return alone(() => {
    if (isBuilt(wanted)) return false;
    const built = spawnSync(process.execPath, [join(home, 'node_modules/vite/bin/vite.js'), 'build'], {
      cwd: home,
      encoding: 'utf8',
    });
    if (built.status !== 0) throw new Error(`vite build failed:\n${built.stdout}${built.stderr}`);
    writeFileSync(stamp, `${wanted}\n`);
    return true;
  });
}

/** One process builds at a time: the builder empties dist/ first, so two at once would take each other's files away. */
function alone<Result>(work: () => Result): Result {
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; ; waitedMs += pollMs) {
    try {
      writeFileSync(lock, `${process.pid}`, { flag: 'wx' });
      break;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    // Whoever was killed while building cannot take its lock away.
    if (isHolderGone()) rmSync(lock, { force: true });
    if (waitedMs > lockMsMax)
      throw new Error(`${lock} is held by another build. Remove it if there is none.`);
    Atomics.wait(sleeper, 0, 0, pollMs);
  }
  try {
    return work();
  } finally {
    rmSync(lock, { force: true });
  }
}

function isHolderGone(): boolean {
  const pid = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0;
  return pid > 0 && !existsSync(`/proc/${pid}`);
}

if (import.meta.main) process.stdout.write(ensurePages() ? 'built\n' : 'up to date\n');
