/** One `up` or `down` of a run at a time: a lock file that names its holder, free when the holder is dead. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { identify, isAlive, processIdentity } from './processIdentity.ts';

const attemptsMax = 5;

const holderOf = (path: string): number | undefined => {
  try {
    const holder = processIdentity.parse(JSON.parse(readFileSync(path, 'utf8')));
    return isAlive(holder) ? holder.pid : undefined;
  } catch {
    return undefined;
  }
};

/** Runs `work` while holding the lock. Throws at once, with the holder's pid, when another process holds it. */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(path), { recursive: true });
  for (let attempt = 1; !take(path); attempt++) {
    const holder = holderOf(path);
    if (holder !== undefined)
      throw new Error(`Another pando (pid ${holder}) is at work on this region. Wait for it, or end it.`);
    if (attempt >= attemptsMax) throw new Error(`The lock ${path} cannot be taken: remove it.`);
    // Its holder died. Of two that see this, one removes the file that the other has just made at worst once: both then try again.
    rmSync(path, { force: true });
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path: string): boolean {
  try {
    writeFileSync(path, JSON.stringify(identify(process.pid)), { flag: 'wx', mode: 0o600 });
    return true;
  } catch {
    return false;
  }
}
