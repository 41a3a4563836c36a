/**
 * Files that a tenant has written to are overwritten before they are removed, so that their blocks tell the next owner nothing; what was
 * written is read back from the disk. Where a file system writes elsewhere instead of in place (btrfs, a snapshot below it), this does
 * not hold: the directory of VMs is not to lie on one.
 */
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from './exec.ts';

const chunkBytes = 1024 * 1024;
/** A cluster of a VM's disk. */
const pieceBytes = 64 * 1024;
const zeros = Buffer.alloc(chunkBytes);
const blockBytes = 512;
/** A file so much longer than its blocks was made to keep us reading holes: it is not touched, and somebody has to look. */
const holesBytesMax = 256 * 1024 ** 3;
const evictTimeoutMs = 120_000;

/** Something was not overwritten, or did not read back so. */
export class WipeError extends Error {
  override readonly name = 'WipeError';
}

const eachChunk = async (
  file: FileHandle,
  size: number,
  work: (data: Buffer, at: number) => Promise<void>,
): Promise<void> => {
  const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, Math.max(1, size)));
  for (let at = 0; at < size; ) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, size - at), at);
    if (bytesRead === 0) return;
    await work(buffer.subarray(0, bytesRead), at);
    at += bytesRead;
  }
};

const isZero = (data: Buffer): boolean => data.equals(zeros.subarray(0, data.length));

/** Never follows a link, never waits for a FIFO: who wrote here may have put anything in a file's place. */
const openFor = (path: string, flags: number): Promise<FileHandle> =>
  open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK);

const overwrite = async (path: string): Promise<void> => {
  const file = await openFor(path, constants.O_RDWR);
  try {
    const { size, blocks } = await file.stat();
    if (size - blocks * blockBytes > holesBytesMax)
      throw new WipeError(`${path} claims ${size} bytes and has ${blocks * blockBytes}: it is left as it is`);
    await eachChunk(file, size, async (data, at) => {
      // Zeros stay as they are: a hole is not filled, and nothing is written twice.
      for (let from = 0; from < data.length; from += pieceBytes) {
        const piece = data.subarray(from, from + pieceBytes);
        if (!isZero(piece)) await file.write(zeros, 0, piece.length, at + from);
      }
    });
    await file.sync();
  } finally {
    await file.close();
  }
};

const readBack = async (path: string): Promise<void> => {
  const file = await openFor(path, constants.O_RDONLY);
  try {
    await eachChunk(file, (await file.stat()).size, async (data, at) => {
      if (!isZero(data)) throw new WipeError(`${path} was not read back as overwritten, at byte ${at}`);
    });
  } finally {
    await file.close();
  }
};

/** Out of the page cache, so that the next read is of the disk. */
const evict = async (paths: readonly string[]): Promise<void> => {
  const each = 'for path; do dd if="$path" iflag=nocache count=0 status=none; done';
  for (let at = 0; at < paths.length; at += 256)
    await exec('sh', ['-c', each, 'evict', ...paths.slice(at, at + 256)], { timeoutMs: evictTimeoutMs });
};

/** Regular files at or below `path`, links not followed; absent: none. */
const filesBelow = async (path: string): Promise<string[]> => {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found?.isFile()) return [path];
  if (!found?.isDirectory()) return [];
  const inside = await Promise.all((await readdir(path)).map((name) => filesBelow(join(path, name))));
  return inside.flat();
};

/** Overwrites every file at or below `path`, reads them back, then removes it all. Absent: nothing. @throws WipeError and what the disk says */
export const wipe = async (path: string): Promise<{ files: number }> => {
  const files = await filesBelow(path);
  for (const file of files) await overwrite(file);
  if (files.length > 0) await evict(files);
  for (const file of files) await readBack(file);
  await rm(path, { recursive: true, force: true });
  return { files: files.length };
};
