/** What processes cost: CPU time and memory, from /proc. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';

/** The kernel's unit of CPU time as user space sees it, on every architecture. */
const ticksPerSecond = 100;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** Of the process itself, user and system. */
  readonly ownTicks: number;
  /** Of the children that it has waited for. */
  readonly waitedTicks: number;
  readonly ticks: number;
}

/** undefined: there is no such process. */
export function statOf(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const sum = (from: number): number => (fields[from] ?? 0) + (fields[from + 1] ?? 0);
    const [ownTicks, waitedTicks] = [sum(11), sum(13)];
    return { pid, parent: fields[1] ?? 0, ownTicks, waitedTicks, ticks: ownTicks + waitedTicks };
  } catch {
    return undefined;
  }
}

const isVmm = (pid: number): boolean => {
  try {
    return basename(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0] ?? '').startsWith('qemu');
  } catch {
    return false;
  }
};

/** The processes and all that descend from them, without VMMs. */
export function family(pids: readonly number[]): number[] {
  const stats = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statOf(Number(name)) ?? []);
  const found = new Set(pids);
  for (let size = 0; size !== found.size; ) {
    size = found.size;
    for (const stat of stats) if (found.has(stat.parent)) found.add(stat.pid);
  }
  return [...found].filter((pid) => !isVmm(pid));
}

/** CPU seconds that the processes and their descendants have used so far. */
export const cpuSeconds = (pids: readonly number[]): number =>
  family(pids).reduce((sum, pid) => sum + (statOf(pid)?.ticks ?? 0), 0) / ticksPerSecond;

/** Resident bytes, and the share of them that is this process's own when shared pages are divided among their users. */
export function memoryOf(pids: readonly number[]): { rssKib: number; pssKib: number } {
  const sum = { rssKib: 0, pssKib: 0 };
  for (const pid of family(pids)) {
    try {
      const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      sum.rssKib += Number(/^Rss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
      sum.pssKib += Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
    } catch {
      // It has just ended.
    }
  }
  return sum;
}
