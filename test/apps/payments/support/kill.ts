/** Ends a process as a crash does, and returns once it is gone: until then, a start would take it for one that still runs. */
import { setTimeout as delay } from 'node:timers/promises';

const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

export async function crash(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  while (isThere(pid)) await delay(2);
}
