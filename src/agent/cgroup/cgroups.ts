/** Control groups of a VM: CPU quota, memory, number of threads, devices. Version 1 or 2, whichever this machine lets us write. */
import { CgroupsV1 } from './v1.ts';
import { CgroupsV2 } from './v2.ts';

/** `ip netns exec` hides the machine's mounts below /sys; the first process still sees them. */
const rootsTried = ['/sys/fs/cgroup', '/proc/1/root/sys/fs/cgroup'];

export interface CgroupLimits {
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly kvm: boolean;
}

/** Of the groups above all VMs' own; each only grows. */
export interface GroupCounters {
  /** Periods in which a group that has a quota ran, and those in which it had used it up. */
  readonly periods: number;
  readonly throttledPeriods: number;
  /** Microseconds in which somebody in the VMs' groups waited for memory. Absent: this version does not tell. */
  readonly memoryStallUs?: number | undefined;
}

export interface Cgroups {
  /** undefined: no limits can be set here (degraded). */
  readonly version: 1 | 2 | undefined;
  /** What is not enforced here, for people; empty: everything is. */
  readonly missing: readonly string[];
  /** Makes the VM's groups; returns the `cgroup.procs` files that its process must write itself into. */
  create(name: string, limits: CgroupLimits): Promise<string[]>;
  /** Gives a VM's group more time while it moves, or takes it back. No group: nothing. */
  setMigrationCpuQuota(name: string, vcpus: number, moving: boolean): Promise<void>;
  /** What a VM's group gets of processors that others want too: its full part, or hardly any. No group: nothing. */
  setLowCpuShares(name: string, low: boolean): Promise<void>;
  /** What the groups above the VMs' own leave of their memory limits, in MiB; infinite where none limits. */
  memoryFreeMib(): Promise<number>;
  counters(): GroupCounters;
  /** Ids of the processes inside the VM's group. */
  processes(name: string): Promise<number[]>;
  /** Removes the VM's groups, once its processes are gone. */
  remove(name: string): Promise<void>;
  /** Names of the groups below our prefix. */
  list(): Promise<string[]>;
  /** Removes the prefix's own groups when no VM is left: for the end of a host. */
  removeAll(): Promise<void>;
}

/** Finds what can be written. */
export const openCgroups = async (prefix: string, rootWanted?: string): Promise<Cgroups> => {
  for (const root of rootWanted === undefined ? rootsTried : [rootWanted]) {
    const found = (await CgroupsV1.open(root, prefix)) ?? (await CgroupsV2.open(root, prefix));
    if (found !== undefined) return found;
  }
  return noCgroups;
};

/** A machine that lets us write none: VMs run without limits, and the host says so. */
const noCgroups: Cgroups = {
  version: undefined,
  missing: ['cpu', 'memory', 'pids', 'devices'],
  create: async () => [],
  setMigrationCpuQuota: async () => undefined,
  setLowCpuShares: async () => undefined,
  memoryFreeMib: async () => Number.POSITIVE_INFINITY,
  counters: () => ({ periods: 0, throttledPeriods: 0 }),
  processes: async () => [],
  remove: async () => undefined,
  list: async () => [],
  removeAll: async () => undefined,
};
