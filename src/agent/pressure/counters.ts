/** Reads what the kernel has counted until now. */
import { statSync } from 'node:fs';
import { monotonicMs } from '#base/monotonic.ts';
import type { Host } from '../host.ts';
import { readKernelFile } from '../kernel-files.ts';
import { type Portion, parseDiskBusyMs, parsePressure, parseSteal } from './parse.ts';

/** What is not known is undefined; everything else only grows, until the machine or the card starts again. */
export interface KernelCounters {
  readonly atMs: number;
  readonly steal?: Portion | undefined;
  readonly throttling?: Portion | undefined;
  readonly memoryStallUs?: number | undefined;
  /** Of the groups of the VMs. */
  readonly groupMemoryStallUs?: number | undefined;
  readonly ioStallUs?: number | undefined;
  readonly diskBusyMs?: number | undefined;
  readonly network?:
    | { readonly rxBytes: number; readonly txBytes: number; readonly mbps: number }
    | undefined;
}

/** The block device below a directory; undefined: a file system that is on none (tmpfs, overlay, btrfs). */
const diskStatOf = (directory: string): string | undefined => {
  const { dev } = statSync(directory);
  // As glibc's gnu_dev_major and gnu_dev_minor, for the 32 bits that the kernel uses.
  const major = (dev >> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  return readKernelFile(`/sys/dev/block/${major}:${minor}/stat`);
};

export const readKernelCounters = (host: Host, networkMbps: number | undefined): KernelCounters => {
  const { cgroups, config } = host.context;
  const groups = cgroups.counters();
  const { underlay } = host;
  return {
    atMs: monotonicMs(),
    steal: parseSteal(readKernelFile('/proc/stat') ?? ''),
    throttling: { part: groups.throttledPeriods, whole: groups.periods },
    memoryStallUs: parsePressure(readKernelFile('/proc/pressure/memory')),
    groupMemoryStallUs: groups.memoryStallUs,
    ioStallUs: parsePressure(readKernelFile('/proc/pressure/io')),
    diskBusyMs: parseDiskBusyMs(diskStatOf(config.stateDir)),
    network:
      underlay === undefined || networkMbps === undefined ? undefined : { ...underlay, mbps: networkMbps },
  };
};
