/** Takes in a disk file that somebody brings: unpacked, checked and written anew as qcow2, by QEMU's own tools in a jail. */
import { constants, createReadStream, createWriteStream } from 'node:fs';
import { copyFile, open, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { z } from 'zod';
import { ExecError, exec } from '#base/exec.ts';
import { PandoError } from '#contracts/errors.ts';
import { type DiskFormat, headBytes, type Identified, identifyDisk } from './disk-format.ts';

/** As large as EC2's volumes may be. */
export const diskVirtualBytesMax = 16 * 1024 ** 4;
/** A smaller one holds no system. */
const diskVirtualBytesMin = 512;
/** What a packed file may become: a few kilobytes can say that they are petabytes. */
export const unpackedBytesMax = 64 * 1024 ** 3;
const convertTimeoutMs = 600_000;
/** Of a process of qemu-img. A crafted disk makes it take what it can get. */
const jailMemoryBytesMax = 2 * 1024 ** 3;
/** qemu-img check: errors were found in the image. */
const checkFoundErrors = 2;
/** qemu-img check: some clusters are not used; harmless. */
const checkFoundLeaks = 3;
/** qemu-img check: this format has no checks. */
const checkNotSupported = 63;

const refuse = (message: string, cause?: unknown): PandoError =>
  new PandoError('InvalidParameterValue', message, cause === undefined ? {} : { cause });

const child = z.looseObject({ info: z.looseObject({ filename: z.string() }) });
const diskInfo = z.looseObject({
  'virtual-size': z.number(),
  'backing-filename': z.string().optional(),
  encrypted: z.boolean().optional(),
  children: z.array(child).default([]),
  'format-specific': z
    .looseObject({
      data: z.looseObject({
        extents: z.array(z.looseObject({ filename: z.string() })).optional(),
        'data-file': z.string().optional(),
      }),
    })
    .optional(),
});
type DiskInfo = z.infer<typeof diskInfo>;

/**
 * Writes the disk at `source` as `disk.qcow2` into `scratch`, which is the caller's to remove. Answers its size in bytes as a guest
 * sees it. @throws InvalidParameterValue that names what the file is instead, or what is wrong with it.
 */
export const importDisk = async (source: string, scratch: string): Promise<number> => {
  const { size } = await stat(source);
  if (size > unpackedBytesMax) throw refuse(`The disk file is larger than ${unpackedBytesMax} bytes.`);
  // Its owner may write to it while it is being read: a copy is what is looked at and what is converted.
  await copyFile(source, path.join(scratch, 'brought'), constants.COPYFILE_FICLONE);
  const format = await unpack(scratch);
  const info = await inspect(scratch, format);
  await inJail(scratch, ['convert', '-f', format, '-O', 'qcow2', 'brought', 'disk.qcow2']).catch(
    (error: unknown) => {
      throw refuse(`The disk (${format}) cannot be read: ${wordsOf(error)}`, error);
    },
  );
  await rm(path.join(scratch, 'brought'));
  return info['virtual-size'];
};

/** Takes off one packing, and says what is then there. */
const unpack = async (scratch: string): Promise<DiskFormat> => {
  const file = path.join(scratch, 'brought');
  const first = await identify(file);
  if (first.kind !== 'packed') return formatOf(first);
  const unpacked = path.join(scratch, 'unpacked');
  const unpacker = first.by === 'gzip' ? createGunzip() : createZstdDecompress();
  await pipeline(
    createReadStream(file),
    unpacker,
    bounded(unpackedBytesMax),
    createWriteStream(unpacked),
  ).catch((error: unknown) => {
    throw error instanceof PandoError
      ? error
      : refuse(`The disk cannot be unpacked (${first.by}): ${wordsOf(error)}`, error);
  });
  await rename(unpacked, file);
  const inner = await identify(file);
  if (inner.kind === 'packed') throw refuse('The disk file is packed twice: unpack it first.');
  return formatOf(inner);
};

const formatOf = (found: Exclude<Identified, { kind: 'packed' }>): DiskFormat => {
  if (found.kind === 'disk') return found.format;
  throw refuse(
    `The disk file is ${found.name}. What can be registered: qcow2, VMDK, VDI, VHD, VHDX and raw disks, as they are or packed by gzip or zstd.`,
  );
};

const identify = async (file: string): Promise<Identified> => {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const head = Buffer.alloc(Math.min(headBytes, size));
    await handle.read(head, 0, head.length, 0);
    const tail = Buffer.alloc(Math.min(512, size));
    await handle.read(tail, 0, tail.length, size - tail.length);
    return identifyDisk(head, tail, size);
  } finally {
    await handle.close();
  }
};

/** Passes on what comes, up to a limit. */
const bounded = (bytesMax: number): Transform => {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > bytesMax) done(refuse(`The disk is larger than ${bytesMax} bytes when it is unpacked.`));
      else done(null, chunk);
    },
  });
};

const inspect = async (scratch: string, format: DiskFormat): Promise<DiskInfo> => {
  const printed = await inJail(scratch, ['info', '--output=json', '-f', format, 'brought']).catch(
    (error: unknown) => {
      throw refuse(`The disk (${format}) cannot be read: ${wordsOf(error)}`, error);
    },
  );
  const info = diskInfo.parse(JSON.parse(printed.stdout));
  assertWhole(info);
  await assertSound(scratch, format);
  return info;
};

const assertWhole = (info: DiskInfo): void => {
  const { extents = [], 'data-file': dataFile } = info['format-specific']?.data ?? {};
  const files = [
    ...info.children.map(({ info: { filename } }) => filename),
    ...extents.map(({ filename }) => filename),
  ];
  if (
    info['backing-filename'] !== undefined ||
    dataFile !== undefined ||
    files.some((file) => path.basename(file) !== 'brought')
  )
    throw refuse('The disk refers to other files (a backing or data file): flatten it first.');
  if (info.encrypted === true) throw refuse('The disk file is encrypted: decrypt it first.');
  const size = info['virtual-size'];
  if (size < diskVirtualBytesMin || size > diskVirtualBytesMax)
    throw refuse(`A disk of ${size} bytes is outside ${diskVirtualBytesMin} to ${diskVirtualBytesMax}.`);
};

/** A file that was cut off reads as zeros where its end is missing: only its own tables tell. */
const assertSound = async (scratch: string, format: DiskFormat): Promise<void> => {
  const allow = [checkFoundErrors, checkFoundLeaks, checkNotSupported];
  const { exitCode, stdout, stderr } = await inJail(scratch, ['check', '-f', format, 'brought'], allow).catch(
    (error: unknown) => {
      throw refuse(`The disk (${format}) cannot be checked: ${wordsOf(error)}`, error);
    },
  );
  if (exitCode === checkFoundErrors)
    throw refuse(`The disk (${format}) is damaged or cut off: ${(stderr + stdout).trim().slice(0, 200)}`);
};

/** Runs qemu-img where it sees its own programs and the scratch directory, and nothing else: no network, no other file, no process. */
const inJail = (scratch: string, args: readonly string[], allow: readonly number[] = []) =>
  exec(
    'prlimit',
    [
      `--as=${jailMemoryBytesMax}`,
      '--core=0',
      '--',
      'bwrap',
      '--unshare-all',
      '--die-with-parent',
      '--new-session',
      ...['--ro-bind', '/usr', '/usr', '--symlink', 'usr/lib', '/lib', '--symlink', 'usr/lib64', '/lib64'],
      ...['--proc', '/proc', '--dev', '/dev', '--bind', scratch, '/disk', '--chdir', '/disk'],
      ...['--clearenv', '--setenv', 'PATH', '/usr/bin', '--setenv', 'LC_ALL', 'C'],
      ...['--cap-drop', 'ALL', '--', 'qemu-img', ...args],
    ],
    { timeoutMs: convertTimeoutMs, allow },
  );

/** What went wrong, without the command line. */
const wordsOf = (error: unknown): string => {
  const text =
    error instanceof ExecError ? error.stderr : error instanceof Error ? error.message : String(error);
  return text.trim().replaceAll('brought', 'it').slice(-300);
};
