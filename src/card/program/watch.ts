/**
 * Watches over a version of the card's program that is on trial: `watch.ts RECORD PID STARTTIME`. It ends the process when the trial's time is
 * over and nothing has settled it: a program that hangs, or that nobody can reach, would not go by itself.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { leftMs, readRecord } from './record.ts';

const lookEveryMs = 100;
/** A program that works goes back by itself: it has a little longer. */
const graceMs = 1_000;

/** Fields of /proc/PID/stat after the command's name. */
const startTimeField = 19;

/** undefined: there is no such process. */
export const startTimeOf = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[startTimeField];
  } catch {
    return undefined;
  }
};

const watch = async (path: string, pid: number, startTime: string): Promise<void> => {
  const { trial: watched } = readRecord(path);
  let overMs = 0;
  while (watched !== undefined && startTimeOf(pid) === startTime) {
    const { trial } = readRecord(path);
    // Settled, given up, or followed by another, which has a watcher of its own.
    if (trial?.transactionId !== watched.transactionId || !trial.begun) return;
    if (leftMs(trial, monotonicMs()) === 0) overMs += lookEveryMs;
    if (overMs > graceMs) {
      process.kill(pid, 'SIGKILL');
      return;
    }
    await delay(lookEveryMs);
  }
};

if (import.meta.main) {
  const [path = '', pid = '', startTime = ''] = process.argv.slice(2);
  await watch(path, Number(pid), startTime);
}
