/** The machine's memory, as far as this host may use it. */
import type { Cgroups } from './cgroup/cgroups.ts';
import { readKernelFile } from './kernel-files.ts';

/** Memory that programs may still take without pressure, in MiB: of the machine, and of the groups that VMs are put in. */
export const memoryAvailableMib = async (cgroups: Pick<Cgroups, 'memoryFreeMib'>): Promise<number> => {
  const text = readKernelFile('/proc/meminfo') ?? '';
  const machineMib = Number(/^MemAvailable:\s+(\d+)/m.exec(text)?.[1] ?? 0) / 1024;
  return Math.min(machineMib, await cgroups.memoryFreeMib());
};
