/** The machine's memory, as far as this host may use it. */
import { readFile } from 'node:fs/promises';
import type { Cgroups } from './cgroup/cgroups.ts';

/** Memory that programs may still take without pressure, in MiB: of the machine, and of the groups that VMs are put in. */
export const memoryAvailableMib = async (cgroups: Pick<Cgroups, 'memoryFreeMib'>): Promise<number> => {
  const text = await readFile('/proc/meminfo', 'utf8');
  const machineMib = Number(/^MemAvailable:\s+(\d+)/m.exec(text)?.[1] ?? 0) / 1024;
  return Math.min(machineMib, await cgroups.memoryFreeMib());
};
