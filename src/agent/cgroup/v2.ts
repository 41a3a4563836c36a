/** Control groups, version 2: one hierarchy for all controllers, which have to be handed down to the VMs' groups. */
import { mkdir, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readKernelFile, writeKernelFile } from '../kernel-files.ts';
import { cpuPeriodUs, overheadLimitMib, threadsPerVmMax } from '../limits.ts';
import { parsePressure } from '../pressure/parse.ts';
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

/** `full` is the kernel's own default. */
const cpuWeight = { full: 100, low: 1 } as const;

const cpuMax = (vcpus: number, moving = false): string => `${quotaUs(vcpus, moving)} ${cpuPeriodUs}`;

/** Files and values of one VM's group. Pure. */
export const settingsV2 = (limits: CgroupLimits): readonly Setting[] => [
  ['cpu.max', cpuMax(limits.vcpus)],
  ['memory.max', String((limits.memoryMib + overheadLimitMib) * 1024 * 1024)],
  ['pids.max', String(threadsPerVmMax)],
];

export class CgroupsV2 implements Cgroups {
  readonly version = 2;
  /** This version limits devices by BPF programs, which we load none of: the jail's own /dev has to do. */
  readonly missing = ['devices'];
  readonly #root: string;
  readonly #prefix: string;

  private constructor(root: string, prefix: string) {
    this.#root = root;
    this.#prefix = prefix;
  }

  /** undefined: `root` is no such hierarchy, lacks the memory controller, or is not for us to write. */
  static async open(root: string, prefix: string): Promise<CgroupsV2 | undefined> {
    const offered = await readFile(join(root, 'cgroup.controllers'), 'utf8').catch(() => '');
    const ours = offered.includes('memory') && (await writable(join(root, 'cgroup.subtree_control')));
    return ours ? new CgroupsV2(root, prefix) : undefined;
  }

  #dir(name = ''): string {
    return join(this.#root, this.#prefix, name);
  }

  async create(name: string, limits: CgroupLimits): Promise<string[]> {
    await this.#delegate();
    const dir = this.#dir(name);
    await mkdir(dir, { recursive: true });
    for (const [file, value] of settingsV2(limits)) writeKernelFile(join(dir, file), value);
    return [join(dir, 'cgroup.procs')];
  }

  /** A group has only the controllers that each group above it hands down. */
  async #delegate(): Promise<void> {
    const wanted = '+cpu +memory +pids';
    writeKernelFile(join(this.#root, 'cgroup.subtree_control'), wanted);
    await mkdir(this.#dir(), { recursive: true });
    writeKernelFile(join(this.#dir(), 'cgroup.subtree_control'), wanted);
  }

  async setMigrationCpuQuota(name: string, vcpus: number, moving: boolean): Promise<void> {
    await writeIfPresent(join(this.#dir(name), 'cpu.max'), cpuMax(vcpus, moving));
  }

  async setLowCpuShares(name: string, low: boolean): Promise<void> {
    await writeIfPresent(join(this.#dir(name), 'cpu.weight'), String(low ? cpuWeight.low : cpuWeight.full));
  }

  async memoryFreeMib(): Promise<number> {
    const above = [this.#root, this.#dir()];
    const left = above.map((dir) => memoryLeftMib(dir, 'memory.max', 'memory.current'));
    return Math.min(...(await Promise.all(left)));
  }

  counters(): GroupCounters {
    const stall = parsePressure(readKernelFile(join(this.#dir(), 'memory.pressure')));
    return { ...throttling([this.#root, this.#dir()]), memoryStallUs: stall };
  }

  async processes(name: string): Promise<number[]> {
    return processesIn(this.#dir(name));
  }

  async remove(name: string): Promise<void> {
    await removeGroup(this.#dir(name));
  }

  async list(): Promise<string[]> {
    return groupsBelow(this.#dir());
  }

  async removeAll(): Promise<void> {
    await rmdir(this.#dir()).catch(() => undefined);
  }
}
