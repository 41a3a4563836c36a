/** What both versions of control groups share: their files are read, written and removed in the same way. */
import { access, constants, readdir, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readKernelFile, writeKernelFile } from '../kernel-files.ts';
import { parseThrottling } from '../pressure/parse.ts';
import type { GroupCounters } from './cgroups.ts';

const removalTriesMax = 50;
const removalPauseMs = 20;
const mib = 1024 * 1024;

/** A file of a group and the value that it is given. */
export type Setting = readonly [file: string, value: string];

/** What version 1 says where there is no limit is just below 2^63. */
const limitBytesMax = 2 ** 60;

/** Undefined: no such file, or no limit. */
const numberIn = (path: string): number | undefined => {
  const value = Number.parseInt(readKernelFile(path) ?? '', 10);
  return value < limitBytesMax ? value : undefined;
};

/**
 * File pages that were not used lately: the kernel gives them away before it runs out. Of the group and those below it, as usage is:
 * version 1 has lines of their own for that, version 2 counts so everywhere. Pure.
 */
export const reclaimableBytes = (stat: string): number => {
  const [, bytes] = /^total_inactive_file (\d+)$/m.exec(stat) ?? /^inactive_file (\d+)$/m.exec(stat) ?? [];
  return Number(bytes ?? 0);
};

/** Of these groups together: a VM waits whichever of them has used up its quota. */
export const throttling = (dirs: readonly string[]): GroupCounters => {
  const stats = dirs.map((dir) => parseThrottling(readKernelFile(join(dir, 'cpu.stat'))));
  return {
    periods: stats.reduce((sum, { periods }) => sum + periods, 0),
    throttledPeriods: stats.reduce((sum, { throttledPeriods }) => sum + throttledPeriods, 0),
  };
};

export const writable = async (path: string): Promise<boolean> =>
  access(path, constants.W_OK).then(
    () => true,
    () => false,
  );

/** A group that is gone, or a file that it lacks: nothing. */
export const writeIfPresent = async (path: string, value: string): Promise<void> => {
  if (await writable(path)) writeKernelFile(path, value);
};

/** What a group's limit leaves, in MiB; infinite where it has none. */
export const memoryLeftMib = async (dir: string, limitFile: string, usageFile: string): Promise<number> => {
  const limit = numberIn(join(dir, limitFile));
  if (limit === undefined) return Number.POSITIVE_INFINITY;
  const usage = numberIn(join(dir, usageFile)) ?? 0;
  // By the thread pool: to add up a large group's statistics takes the kernel milliseconds.
  const reclaimable = reclaimableBytes(await readFile(join(dir, 'memory.stat'), 'utf8').catch(() => ''));
  return (limit - usage + reclaimable) / mib;
};

/** Ids of the processes in a group; none where there is no group. */
export const processesIn = async (dir: string): Promise<number[]> => {
  const text = readKernelFile(join(dir, 'cgroup.procs')) ?? '';
  return text.split('\n').filter(Boolean).map(Number);
};

/** Names of the groups below a group. */
export const groupsBelow = async (dir: string): Promise<string[]> => {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
};

/** The kernel lets go of a group a moment after its last process has ended. */
export const removeGroup = async (dir: string): Promise<void> => {
  for (let tries = 1; ; tries++) {
    try {
      await rmdir(dir);
      return;
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY' || tries >= removalTriesMax) throw error;
      await sleep(removalPauseMs);
    }
  }
};
