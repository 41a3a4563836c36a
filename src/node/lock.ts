/** The lock of a run: one `up` or `down` at a time. The file names the process that took it, and is free when that process is dead. */
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { identify, isAlive, livingIn, processIdentity } from './processIdentity.ts';

/** Each fails only where another process has taken or released the lock at that very moment. */
const attemptsMax = 100;
const pollMs = 50;

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
    removeStale(path);
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

export interface LockWait {
  readonly waitMsMax: number;
  /** Hears once who is waited for. */
  readonly onWait?: (pid: number) => void;
}

/** As `withLock`, but waits for another process that holds it. Throws `LockHeld` after `waitMsMax`. */
export async function withLockWaiting<T>(path: string, wait: LockWait, work: () => Promise<T>): Promise<T> {
  const until = monotonicMs() + wait.waitMsMax;
  // An error of the work itself may be a `LockHeld` of another lock.
  let isBegun = false;
  const begun = (): Promise<T> => {
    isBegun = true;
    return work();
  };
  for (let isTold = false; ; isTold = true)
    try {
      return await withLock(path, begun);
    } catch (error) {
      if (isBegun || !(error instanceof LockHeld) || monotonicMs() > until) throw error;
      if (!isTold) wait.onWait?.(error.pid);
      await delay(pollMs);
    }
}

/** How often this process has tried: so each try has a name of its own. */
let taken = 0;

/** By a link: the file is there with its process in it, or it is not there. An empty one would pass for a dead process's. */
function take(path: string): boolean {
  const whole = `${path}.${process.pid}.${taken++}`;
  writeFileSync(whole, JSON.stringify(identify(process.pid)), { mode: 0o600 });
  try {
    linkSync(whole, path);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  } finally {
    rmSync(whole, { force: true });
  }
}

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;

/**
 * Removes the file of a process that died, and no other: of two that see it, the second would remove what the first has taken since.
 * So one at a time looks and removes; between the two the file stays, since a dead process releases nothing.
 */
function removeStale(path: string): void {
  const guard = `${path}.removing`;
  if (!take(guard)) {
    const other = livingIn(guard);
    if (other !== undefined) throw new LockHeld(other.pid);
    if (isStale(guard)) throw new Error(`The lock ${path} cannot be taken: remove ${guard}.`);
    return;
  }
  try {
    if (isStale(path)) rmSync(path);
  } finally {
    rmSync(guard, { force: true });
  }
}

/** Whether the file is there and names no process that lives. By one look: the next one may be at another's file. */
function isStale(path: string): boolean {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return false;
  }
  try {
    return !isAlive(processIdentity.parse(JSON.parse(text)));
  } catch {
    return true;
  }
}
