/** The console's log: bounded, and read without trusting the directory that a VMM may write. */
import { constants } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { consoleBytesMax, consoleShownBytes } from './limits.ts';
import { openRegular } from './untrusted.ts';
import type { VmPaths } from './vm-store.ts';

/** A log grows by little between two looks; one that claims more was made longer by who broke out of a VMM. */
const overwrittenBytesMax = 64 * consoleBytesMax;

const tailOf = async (path: string, bytesMax: number): Promise<Buffer> => {
  const file = await openRegular(path, constants.O_RDONLY);
  if (file === undefined) return Buffer.alloc(0);
  try {
    const { size } = await file.stat();
    const length = Math.min(size, bytesMax);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
};

/** The last 64 KiB that the guest's console said. */
export const consoleOutput = async (paths: VmPaths): Promise<string> => {
  const now = await tailOf(paths.consoleLog, consoleShownBytes);
  if (now.length >= consoleShownBytes) return now.toString('utf8');
  const before = await readFile(paths.consoleBefore).catch(() => Buffer.alloc(0));
  return Buffer.concat([before, now]).subarray(-consoleShownBytes).toString('utf8');
};

/** Always of the same length, so in place: no block of it is given back to the file system with what a guest said (I8). */
const keepTail = async (path: string, tail: Buffer): Promise<void> => {
  const file = await open(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
  try {
    await file.write(tail, 0, tail.length, 0);
  } finally {
    await file.close();
  }
};

/** On the disk too: blocks that are cut off before they are written keep what they held. */
const overwrite = async (file: FileHandle): Promise<void> => {
  const zeros = Buffer.alloc(consoleShownBytes);
  const { size } = await file.stat();
  const until = Math.min(size, overwrittenBytesMax);
  for (let at = 0; at < until; at += zeros.length)
    await file.write(zeros, 0, Math.min(zeros.length, until - at), at);
  await file.datasync();
};

/** Cuts a log that has grown above the limit; the writer appends, so it goes on at the start. A few bytes may be lost between copy and cut. */
export const trimLogs = async (paths: VmPaths): Promise<void> => {
  for (const path of [paths.consoleLog, paths.vmmLog]) {
    const file = await openRegular(path, constants.O_RDWR);
    if (file === undefined) continue;
    try {
      if ((await file.stat()).size <= consoleBytesMax) continue;
      if (path === paths.consoleLog)
        await keepTail(paths.consoleBefore, await tailOf(path, consoleShownBytes));
      await overwrite(file);
      await file.truncate(0);
    } finally {
      await file.close();
    }
  }
};

/** The last words of a VMM that has ended, for people. */
export const lastWords = async (paths: VmPaths): Promise<string> =>
  (await tailOf(paths.vmmLog, 1024)).toString('utf8').trim().split('\n').at(-1)?.slice(0, 300) ?? '';
