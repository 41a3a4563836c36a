/** Control groups, version 1: a hierarchy for each controller, and a group of the VM's name in each. */
import { mkdirSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeKernelFile } from '../kernel-files.ts';
import { cpuPeriodUs, overheadLimitMib, threadsPerVmMax } from '../limits.ts';
import type { CgroupLimits, Cgroups, GroupCounters } from './cgroups.ts';
import {
  groupsBelow,
  memoryLeftMib,
  processesIn,
  removeGroup,
  type Setting,
  throttling,
  writable,
  writeIfPresent,
} from './files.ts';
import { quotaUs } from './quota.ts';

const controllers = ['cpu', 'cpuacct', 'memory', 'pids', 'devices'] as const;
type Controller = (typeof controllers)[number];

/** `full` is the kernel's own default. */
const cpuShares = { full: 1024, low: 16 } as const;

/** What the jail's device group allows: null, zero, random, tun, and KVM where it is used. */
const deviceRules = (kvm: boolean): string[] => [
  'c 1:3 rwm',
  'c 1:5 rwm',
  'c 1:8 rwm',
  'c 1:9 rwm',
  'c 10:200 rwm',
  ...(kvm ? ['c 10:232 rwm'] : []),
];

/** Files and values of one VM's group, by controller. Pure. */
export const settingsV1 = (limits: CgroupLimits): Readonly<Record<Controller, readonly Setting[]>> => ({
  cpu: [
    ['cpu.cfs_period_us', String(cpuPeriodUs)],
    ['cpu.cfs_quota_us', String(quotaUs(limits.vcpus))],
  ],
  cpuacct: [],
  memory: [['memory.limit_in_bytes', String((limits.memoryMib + overheadLimitMib) * 1024 * 1024)]],
  pids: [['pids.max', String(threadsPerVmMax)]],
  devices: [
    ['devices.deny', 'a'],
    ...deviceRules(limits.kvm).map((rule): Setting => ['devices.allow', rule]),
  ],
});

export class CgroupsV1 implements Cgroups {
  readonly version = 1;
  readonly #root: string;
  readonly #prefix: string;
  readonly #controllers: readonly Controller[];

  private constructor(root: string, prefix: string, found: readonly Controller[]) {
    this.#root = root;
    this.#prefix = prefix;
    this.#controllers = found;
  }

  /** undefined: `root` has no such hierarchies, or not for us to write. */
  static async open(root: string, prefix: string): Promise<CgroupsV1 | undefined> {
    const found: Controller[] = [];
    for (const name of controllers) if (await writable(join(root, name, 'cgroup.procs'))) found.push(name);
    return found.includes('cpu') && found.includes('memory') ? new CgroupsV1(root, prefix, found) : undefined;
  }

  get missing(): string[] {
    return controllers.filter((name) => !this.#controllers.includes(name));
  }

  #dir(controller: Controller, name = ''): string {
    return join(this.#root, controller, this.#prefix, name);
  }

  async create(name: string, limits: CgroupLimits): Promise<string[]> {
    const settings = settingsV1(limits);
    const procs: string[] = [];
    for (const controller of this.#controllers) {
      const dir = this.#dir(controller, name);
      mkdirSync(dir, { recursive: true });
      for (const [file, value] of settings[controller]) writeKernelFile(join(dir, file), value);
      procs.push(join(dir, 'cgroup.procs'));
    }
    return procs;
  }

  async setMigrationCpuQuota(name: string, vcpus: number, moving: boolean): Promise<void> {
    await writeIfPresent(join(this.#dir('cpu', name), 'cpu.cfs_quota_us'), String(quotaUs(vcpus, moving)));
  }

  async setLowCpuShares(name: string, low: boolean): Promise<void> {
    await writeIfPresent(
      join(this.#dir('cpu', name), 'cpu.shares'),
      String(low ? cpuShares.low : cpuShares.full),
    );
  }

  async memoryFreeMib(): Promise<number> {
    const above = [join(this.#root, 'memory'), this.#dir('memory')];
    const left = above.map((dir) => memoryLeftMib(dir, 'memory.limit_in_bytes', 'memory.usage_in_bytes'));
    return Math.min(...(await Promise.all(left)));
  }

  counters(): GroupCounters {
    return throttling([join(this.#root, 'cpu'), this.#dir('cpu')]);
  }

  async processes(name: string): Promise<number[]> {
    return processesIn(this.#dir('cpu', name));
  }

  async remove(name: string): Promise<void> {
    for (const controller of this.#controllers) await removeGroup(this.#dir(controller, name));
  }

  async list(): Promise<string[]> {
    const below = await Promise.all(
      this.#controllers.map((controller) => groupsBelow(this.#dir(controller))),
    );
    return [...new Set(below.flat())];
  }

  async removeAll(): Promise<void> {
    for (const controller of this.#controllers) await rmdir(this.#dir(controller)).catch(() => undefined);
  }
}
