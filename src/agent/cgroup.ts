/** Control groups of a VM: CPU quota, memory, number of threads, devices. Version 1 or 2, whichever this machine lets us write. */
import { access, constants, mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  cpuPeriodUs,
  cpuQuotaUsMin,
  migrationCpus,
  overheadLimitMib,
  threadsPerVmMax,
  vmmCpusMax,
  vmmCpusPerVcpu,
} from './limits.ts';

const controllers = ['cpu', 'cpuacct', 'memory', 'pids', 'devices'] as const;
/** `ip netns exec` hides the machine's mounts below /sys; the first process still sees them. */
const rootsTried = ['/sys/fs/cgroup', '/proc/1/root/sys/fs/cgroup'];
/** `full` is the kernel's own default. */
const cpuWeights = { v1: { full: 1024, low: 16 }, v2: { full: 100, low: 1 } } as const;
const removalTriesMax = 50;
const removalPauseMs = 20;

export interface CgroupLimits {
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly kvm: boolean;
}

const mib = 1024 * 1024;

/** Undefined: no such file, or `max`. */
const numberIn = async (path: string): Promise<number | undefined> => {
  const value = Number.parseInt(await readFile(path, 'utf8').catch(() => ''), 10);
  return Number.isNaN(value) ? undefined : value;
};

/** File pages that were not used lately: the kernel gives them away before it runs out. Both versions of `memory.stat`. Pure. */
export const reclaimableBytes = (stat: string): number =>
  Number(/^(?:total_)?inactive_file (\d+)$/m.exec(stat)?.[1] ?? 0);

const writable = async (path: string): Promise<boolean> =>
  access(path, constants.W_OK).then(
    () => true,
    () => false,
  );

/**
 * CPU time a period: the guest's own, and a quarter more for the VMM's threads that work for it (devices, emulation), up to
 * `vmmCpusMax`. While it moves, `migrationCpus` more: the copy is ours, and must not stop the guest.
 */
export const quotaUs = (vcpus: number, moving = false): number => {
  const vmm = Math.min(vmmCpusMax, vcpus * vmmCpusPerVcpu);
  return Math.max(cpuQuotaUsMin, Math.round((vcpus + vmm + (moving ? migrationCpus : 0)) * cpuPeriodUs));
};

/** What the jail's device group allows: null, zero, random, tun, and KVM where it is used. */
const deviceRules = (kvm: boolean): string[] => [
  'c 1:3 rwm',
  'c 1:5 rwm',
  'c 1:8 rwm',
  'c 1:9 rwm',
  'c 10:200 rwm',
  ...(kvm ? ['c 10:232 rwm'] : []),
];

/** Files and values of one VM's group, per controller directory. Pure. */
export const cgroupSettings = (version: 1 | 2, limits: CgroupLimits): Record<string, [string, string][]> => {
  const memoryBytes = String((limits.memoryMib + overheadLimitMib) * 1024 * 1024);
  const quota = String(quotaUs(limits.vcpus));
  if (version === 2)
    return {
      '': [
        ['cpu.max', `${quota} ${cpuPeriodUs}`],
        ['memory.max', memoryBytes],
        ['pids.max', String(threadsPerVmMax)],
      ],
    };
  return {
    cpu: [
      ['cpu.cfs_period_us', String(cpuPeriodUs)],
      ['cpu.cfs_quota_us', quota],
    ],
    cpuacct: [],
    memory: [['memory.limit_in_bytes', memoryBytes]],
    pids: [['pids.max', String(threadsPerVmMax)]],
    devices: [
      ['devices.deny', 'a'],
      ...deviceRules(limits.kvm).map((rule): [string, string] => ['devices.allow', rule]),
    ],
  };
};

export class Cgroups {
  readonly version: 1 | 2 | undefined;
  readonly #root: string;
  readonly #prefix: string;
  readonly #controllers: readonly string[];

  private constructor(version: 1 | 2 | undefined, root: string, prefix: string, found: readonly string[]) {
    this.version = version;
    this.#root = root;
    this.#prefix = prefix;
    this.#controllers = found;
  }

  /** Finds what can be written. `version` undefined: no limits can be set here (degraded). */
  static async open(prefix: string, rootWanted?: string): Promise<Cgroups> {
    for (const root of rootWanted === undefined ? rootsTried : [rootWanted]) {
      const found: string[] = [];
      for (const name of controllers) if (await writable(join(root, name, 'cgroup.procs'))) found.push(name);
      if (found.includes('cpu') && found.includes('memory')) return new Cgroups(1, root, prefix, found);
      const offered = await readFile(join(root, 'cgroup.controllers'), 'utf8').catch(() => '');
      if (offered.includes('memory') && (await writable(join(root, 'cgroup.subtree_control'))))
        return new Cgroups(2, root, prefix, ['']);
    }
    return new Cgroups(undefined, '', prefix, []);
  }

  /** What is not enforced here, for people; empty: everything is. */
  get missing(): string[] {
    if (this.version === undefined) return ['cpu', 'memory', 'pids', 'devices'];
    if (this.version === 2) return ['devices'];
    return controllers.filter((name) => !this.#controllers.includes(name));
  }

  #dir(controller: string, name: string): string {
    return join(this.#root, controller, this.#prefix, name);
  }

  /** Makes the VM's groups; returns the `cgroup.procs` files that its process must write itself into. */
  async create(name: string, limits: CgroupLimits): Promise<string[]> {
    if (this.version === undefined) return [];
    const settings = cgroupSettings(this.version, limits);
    if (this.version === 2) await this.#delegate();
    const procs: string[] = [];
    for (const controller of this.#controllers) {
      const dir = this.#dir(controller, name);
      await mkdir(dir, { recursive: true });
      for (const [file, value] of settings[controller] ?? []) await writeFile(join(dir, file), value);
      procs.push(join(dir, 'cgroup.procs'));
    }
    return procs;
  }

  /** Gives a VM's group more time while it moves, or takes it back. No group: nothing. */
  async setMigrationCpuQuota(name: string, vcpus: number, moving: boolean): Promise<void> {
    if (this.version === undefined) return;
    const quota = String(quotaUs(vcpus, moving));
    const [file, value] =
      this.version === 2 ? ['cpu.max', `${quota} ${cpuPeriodUs}`] : ['cpu.cfs_quota_us', quota];
    const path = join(this.#dir(this.version === 2 ? '' : 'cpu', name), file);
    if (await writable(path)) await writeFile(path, value);
  }

  /** What a VM's group gets of processors that others want too: its full part, or hardly any. No group: nothing. */
  async setLowCpuShares(name: string, low: boolean): Promise<void> {
    if (this.version === undefined) return;
    const [controller, file, weight] =
      this.version === 2 ? ['', 'cpu.weight', cpuWeights.v2] : ['cpu', 'cpu.shares', cpuWeights.v1];
    const path = join(this.#dir(controller, name), file);
    if (await writable(path)) await writeFile(path, String(low ? weight.low : weight.full));
  }

  async #delegate(): Promise<void> {
    const wanted = '+cpu +memory +pids';
    await writeFile(join(this.#root, 'cgroup.subtree_control'), wanted);
    await mkdir(join(this.#root, this.#prefix), { recursive: true });
    await writeFile(join(this.#root, this.#prefix, 'cgroup.subtree_control'), wanted);
  }

  /** What the groups above the VMs' own leave of their memory limits, in MiB; infinite where none limits. */
  async memoryFreeMib(): Promise<number> {
    if (this.version === undefined) return Number.POSITIVE_INFINITY;
    const controller = this.version === 1 ? 'memory' : '';
    const [limitFile, usageFile] =
      this.version === 1
        ? ['memory.limit_in_bytes', 'memory.usage_in_bytes']
        : ['memory.max', 'memory.current'];
    const free = [join(this.#root, controller), join(this.#root, controller, this.#prefix)].map(
      async (dir) => {
        const limit = await numberIn(join(dir, limitFile));
        const usage = (await numberIn(join(dir, usageFile))) ?? 0;
        const reclaimable = reclaimableBytes(
          await readFile(join(dir, 'memory.stat'), 'utf8').catch(() => ''),
        );
        return limit === undefined ? Number.POSITIVE_INFINITY : limit - usage + reclaimable;
      },
    );
    return Math.min(...(await Promise.all(free))) / mib;
  }

  /** Ids of the processes inside the VM's group. */
  async processes(name: string): Promise<number[]> {
    const controller = this.#controllers[0];
    if (controller === undefined) return [];
    const text = await readFile(join(this.#dir(controller, name), 'cgroup.procs'), 'utf8').catch(() => '');
    return text.split('\n').filter(Boolean).map(Number);
  }

  /** Removes the VM's groups, once its processes are gone. */
  async remove(name: string): Promise<void> {
    for (const controller of this.#controllers) await removeGroup(this.#dir(controller, name));
  }

  /** Names of the groups below our prefix. */
  async list(): Promise<string[]> {
    const names = new Set<string>();
    for (const controller of this.#controllers) {
      const entries = await readdir(this.#dir(controller, ''), { withFileTypes: true }).catch(() => []);
      for (const entry of entries) if (entry.isDirectory()) names.add(entry.name);
    }
    return [...names];
  }

  /** Removes the prefix's own groups when no VM is left: for the end of a host. */
  async removeAll(): Promise<void> {
    for (const controller of this.#controllers) await rmdir(this.#dir(controller, '')).catch(() => undefined);
  }
}

/** The kernel lets go of a group a moment after its last process has ended. */
const removeGroup = async (dir: string): Promise<void> => {
  for (let tries = 1; ; tries++) {
    try {
      await rmdir(dir);
      return;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY' || tries >= removalTriesMax) throw error;
      await sleep(removalPauseMs);
    }
  }
};
