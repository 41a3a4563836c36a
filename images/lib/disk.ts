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
  /** Smaller, slower to read. */
  compress?: boolean;
  signal?: AbortSignal;
}

/** The UUID and the hash seed need not differ between disks: nothing is looked up by them. A fixed one makes equal builds equal. */
const fixedUuid = '70616e64-6f2d-4d69-8372-6f2d726f6f74';
/** The reserve of group descriptors is made for this many blocks: an online growth up to 1 TiB. */
const growthBlocksMax = 1024 ** 4 / 4096;

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
    `resize=${growthBlocksMax}`,
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
  const packing = plan.compress === true ? ['-c', '-o', 'compression_type=zstd'] : [];
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...packing, raw, plan.disk], {
    signal: plan.signal,
  });
  await rm(raw);
}
