/** What the file system of the VMs' disks has, and what of it may be promised. */
import { lstat, statfs } from 'node:fs/promises';
import { PandoError } from '#contracts/errors.ts';

const mib = 1024 * 1024;

/** MiB, as the file system says. */
export interface Room {
  readonly totalMib: number;
  /** What users without privileges may still take: VMMs are such. */
  readonly availableMib: number;
}

export const roomOf = async (directory: string): Promise<Room> => {
  const { bsize, blocks, bavail } = await statfs(directory);
  return { totalMib: (blocks * bsize) / mib, availableMib: (bavail * bsize) / mib };
};

/** A VM's disk: what was promised to it, and what it has taken of that. */
export interface DiskClaim {
  readonly promisedMib: number;
  readonly takenMib: number;
}

/** What the file has taken; 0 where there is none. The file is a VMM's to write, its blocks are the kernel's to count. */
export const takenMib = async (disk: string): Promise<number> => {
  const found = await lstat(disk).catch(() => undefined);
  return found === undefined ? 0 : (found.blocks * 512) / mib;
};

export interface DiskLoad {
  /** Of all other VMs that have a disk here, also those that are stopped. */
  readonly others: readonly DiskClaim[];
  readonly availableMib: number;
  readonly reserveMib: number;
}

const untakenMib = ({ promisedMib, takenMib }: DiskClaim): number => Math.max(0, promisedMib - takenMib);

/** What all VMs of this host may have of the file system together, at most `declaredMib`. Pure. */
export const diskCapacityMib = (
  claims: readonly DiskClaim[],
  { availableMib, reserveMib, declaredMib }: Omit<DiskLoad, 'others'> & { readonly declaredMib: number },
): number => {
  const taken = claims.reduce((sum, each) => sum + each.takenMib, 0);
  return Math.max(0, Math.min(declaredMib, Math.floor(taken + availableMib - reserveMib)));
};

/**
 * Throws `InsufficientInstanceCapacity` unless a disk of this size fits beside what is promised to others and not taken yet. Pure.
 */
export const admitDisk = (wantedMib: number, { others, availableMib, reserveMib }: DiskLoad): void => {
  const freeMib = availableMib - reserveMib - others.reduce((sum, other) => sum + untakenMib(other), 0);
  if (wantedMib > freeMib)
    throw new PandoError(
      'InsufficientInstanceCapacity',
      `The host's disk has ${Math.max(0, Math.floor(freeMib))} MiB free and not promised beyond its reserve of ${reserveMib} MiB; ${wantedMib} MiB are asked for.`,
    );
};

/** Whether a write failed since the file system is full, also that of a command that was run. */
export const isNoSpace = (error: unknown): boolean =>
  error instanceof Error &&
  (('code' in error && error.code === 'ENOSPC') || /No space left on device/.test(error.message));

/** A host without room has no capacity, whatever write came to say so. */
export const fullIsNoCapacity = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (!isNoSpace(error)) throw error;
    throw new PandoError('InsufficientInstanceCapacity', "The host's disk is full.", { cause: error });
  }
};
