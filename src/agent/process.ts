/** Facts about a process from procfs, and its identity that survives the reuse of process ids. */
import { readdir, readFile } from 'node:fs/promises';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { monotonicMs } from '#base/monotonic.ts';
import { readKernelFile } from './kernel-files.ts';
import { killTimeoutMs, processPollMs } from './limits.ts';

/** A process: its id, and when it started, in clock ticks since boot. Two processes never share both. */
export const processIdentity = z.object({ pid: z.number().int(), startTicks: z.number() });
export type ProcessIdentity = z.infer<typeof processIdentity>;

const ticksPerSecond = 100;

interface ProcessStat {
  readonly state: string;
  readonly cpuSeconds: number;
  readonly startTicks: number;
}

/** Names this boot of the machine: what an earlier boot wrote down of processes holds no more. */
export const readBootId = async (): Promise<string> =>
  (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();

/** Undefined when there is no such process. */
const statOf = async (pid: number): Promise<ProcessStat | undefined> => {
  const text = readKernelFile(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name in parentheses may hold anything; the fields after the last one are numbers.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    state: fields[0] ?? '?',
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    startTicks: Number(fields[19]),
  };
};

/** The identity of a process that runs now; undefined when it is gone or a zombie. */
export const identifyProcess = async (pid: number): Promise<ProcessIdentity | undefined> => {
  const stat = await statOf(pid);
  return stat === undefined || stat.state === 'Z' || stat.state === 'X'
    ? undefined
    : { pid, startTicks: stat.startTicks };
};

export const isAlive = async (process: ProcessIdentity): Promise<boolean> =>
  (await identifyProcess(process.pid))?.startTicks === process.startTicks;

/** CPU seconds used so far and bytes resident; undefined when the process is gone. */
export const processUsage = async (
  process: ProcessIdentity,
): Promise<{ cpuSeconds: number; residentBytes: number } | undefined> => {
  const stat = await statOf(process.pid);
  if (stat?.startTicks !== process.startTicks) return undefined;
  const status = readKernelFile(`/proc/${process.pid}/status`) ?? '';
  const residentKib = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  return { cpuSeconds: stat.cpuSeconds, residentBytes: residentKib * 1024 };
};

/** The real uid of a process; undefined when it is gone. */
export const uidOfPid = async (pid: number | string): Promise<number | undefined> => {
  return realUid(readKernelFile(`/proc/${pid}/status`) ?? '');
};

const realUid = (status: string): number | undefined => {
  const uid = /^Uid:\s+(\d+)/m.exec(status)?.[1];
  return uid === undefined ? undefined : Number(uid);
};

/** So many are looked at in one turn of the event loop. */
const processesPerTurn = 128;

const isOfUid = (pid: string, uid: number): boolean =>
  realUid(readKernelFile(`/proc/${pid}/status`) ?? '') === uid;

/** Processes whose real uid is `uid`: a VM's uid is its own, so these are its VMM, whoever started it. */
export const processesOfUid = async (uid: number): Promise<ProcessIdentity[]> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found: ProcessIdentity[] = [];
  for (const [at, pid] of pids.entries()) {
    if (at % processesPerTurn === processesPerTurn - 1) await nextTurn();
    if (!isOfUid(pid, uid)) continue;
    const identity = await identifyProcess(Number(pid));
    if (identity !== undefined) found.push(identity);
  }
  return found;
};

/** Uids from `from` up, `count` of them, that some process has. */
export const uidsWithProcesses = async (from: number, count: number): Promise<ReadonlySet<number>> => {
  const found = new Set<number>();
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const uid = await uidOfPid(pid);
    if (uid !== undefined && uid >= from && uid < from + count) found.add(uid);
  }
  return found;
};

/** Resolves true once the process is gone, false when it is still there after `timeoutMs`. */
export const processGone = async (process: ProcessIdentity, timeoutMs: number): Promise<boolean> => {
  const until = monotonicMs() + timeoutMs;
  while (await isAlive(process)) {
    if (monotonicMs() >= until) return false;
    await sleep(processPollMs);
  }
  return true;
};

/** Kills and waits. The identity is checked right before the signal, so that a reused id is left alone. */
export const killProcess = async (target: ProcessIdentity): Promise<void> => {
  if (!(await isAlive(target))) return;
  try {
    process.kill(target.pid, 'SIGKILL');
  } catch {
    // It ended between the check and the signal.
  }
  if (!(await processGone(target, killTimeoutMs))) throw new Error(`process ${target.pid} survives SIGKILL`);
};
