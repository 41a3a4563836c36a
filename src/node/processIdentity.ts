/** Which process a pid meant: a pid alone may be another process by now, so it is kept with its start time and boot. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { monotonicMs } from '#base/monotonic.ts';

export const processIdentity = z.object({
  pid: z.number().int().positive(),
  startTime: z.string(),
  bootId: z.string(),
});
export type ProcessIdentity = z.infer<typeof processIdentity>;

const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

/** Fields of /proc/PID/stat after the command's name, which may hold spaces and brackets itself. */
const statFields = (pid: number): string[] | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
};
const stateField = 0;
const startTimeField = 19;

/** The identity of a process that lives now; undefined when none does. */
export function identify(pid: number): ProcessIdentity | undefined {
  const fields = statFields(pid);
  const startTime = fields?.[startTimeField];
  return startTime === undefined ? undefined : { pid, startTime, bootId: bootId() };
}

/** Whether that very process still lives. A zombie does not. */
export function isAlive(identity: ProcessIdentity): boolean {
  const fields = statFields(identity.pid);
  return (
    fields !== undefined &&
    fields[stateField] !== 'Z' &&
    fields[startTimeField] === identity.startTime &&
    identity.bootId === bootId()
  );
}

/** The process that a file names, if it still lives. */
export function livingIn(path: string): ProcessIdentity | undefined {
  try {
    const identity = processIdentity.parse(JSON.parse(readFileSync(path, 'utf8')));
    return isAlive(identity) ? identity : undefined;
  } catch {
    return undefined;
  }
}

/** Clock ticks a second in /proc, the same on every Linux that runs Node.js. */
const ticksPerSecond = 100;

/** How long ago the process began, milliseconds. */
export function ageMs(identity: ProcessIdentity): number {
  const uptimeSeconds = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
  return (uptimeSeconds - Number(identity.startTime) / ticksPerSecond) * 1000;
}

/** When the process began, epoch milliseconds. */
export const startedAtMs = (identity: ProcessIdentity): number => Math.round(Date.now() - ageMs(identity));

/** Sends a signal to that very process; false when it is gone. */
export function signal(identity: ProcessIdentity, name: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    process.kill(identity.pid, name);
    return true;
  } catch {
    return false;
  }
}

const pollMs = 20;

/** Resolves true once the process is gone, false when it still lives after `timeoutMs`. */
export async function waitGone(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const until = monotonicMs() + timeoutMs;
  while (isAlive(identity)) {
    if (monotonicMs() > until) return false;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  return true;
}

/** Asks the process to end, and ends it when it has not after `graceMs`. */
export async function endProcess(
  identity: ProcessIdentity,
  graceMs: number,
  first: NodeJS.Signals = 'SIGTERM',
): Promise<void> {
  signal(identity, first);
  if (await waitGone(identity, graceMs)) return;
  signal(identity, 'SIGKILL');
  await waitGone(identity, graceMs);
}
