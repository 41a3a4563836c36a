/** The lock of a run: one `up` or `down` at a time. The file names the process that took it, and is free when that process is dead. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { identify, livingIn } from './processIdentity.ts';

const attemptsMax = 5;

/** Another process is at work on the run. */
export class LockHeld extends Error {
  readonly pid: number;
  constructor(pid: number) {
    super(`Another pando (pid ${pid}) is at work on this region. Wait until it is done, or end it.`);
    this.pid = pid;
  }
}

/** Runs `work` while holding the lock. Throws `LockHeld` at once when another process holds it. */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(path), { recursive: true });
  for (let attempt = 1; !take(path); attempt++) {
    const holder = livingIn(path);
    if (holder !== undefined) throw new LockHeld(holder.pid);
    if (attempt >= attemptsMax) throw new Error(`The lock ${path} cannot be taken: remove it.`);
    // Its process died. Of two that see this, one may remove the file that the other has just made. Both then try again.
    rmSync(path, { force: true });
  }
  const release = (): void => rmSync(path, { force: true });
  // An interrupt ends the program in the middle of the work: the file goes then too.
  process.once('exit', release);
  try {
    return await work();
  } finally {
    process.off('exit', release);
    release();
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
