import { rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './run.ts';

/** What a root disk is made of. */
export interface DiskPlan {
  /** The directory that becomes `/`; owners and modes are taken as they are. */
  root: string;
  /** The qcow2 file to write. */
  disk: string;
  /** Where the raw file may lie meanwhile. */
  scratch: string;
  virtualBytes: number;
  label: string;
  signal?: AbortSignal;
}

/** The UUID and the hash seed need not differ between disks: nothing is looked up by them. A fixed one makes equal builds equal. */
const fixedUuid = '70616e64-6f2d-4d69-8372-6f2d726f6f74';
/** Large enough that an online growth to the largest volume has its descriptors (the reserve is set by this). */
const growthBlocksMax = (16 * 1024 ** 4) / 4096 - 1;

/**
 * Makes an ext4 disk without a partition table, from a directory, with no mount and no loop device. Inode tables
 * are written at once, so that the guest does not spend its first minute on them.
 */
export async function makeDisk(plan: DiskPlan): Promise<void> {
  const raw = join(plan.scratch, 'disk.raw');
  await writeFile(raw, '');
  await truncate(raw, plan.virtualBytes);
  const extended = [
    'lazy_itable_init=0',
    'lazy_journal_init=0',
    `hash_seed=${fixedUuid}`,
    `resize=${Math.min(growthBlocksMax, 2 ** 28)}`,
  ];
  const args = [
    '-q',
    '-F',
    '-t',
    'ext4',
    '-b',
    '4096',
    '-I',
    '256',
    '-i',
    '32768',
    '-m',
    '1',
    '-J',
    'size=4',
    '-L',
    plan.label,
  ];
  await run(
    'mke2fs',
    [...args, '-U', fixedUuid, '-O', '^metadata_csum', '-E', extended.join(','), '-d', plan.root, raw],
    {
      signal: plan.signal,
      env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
    },
  );
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-o', 'lazy_refcounts=off', raw, plan.disk], {
    signal: plan.signal,
  });
  await rm(raw);
}
