/** The console's log: bounded, and read without trusting the directory that a VMM may write. */
import { constants } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { consoleBytesMax, consoleShownBytes } from './limits.ts';
import { openRegular } from './untrusted.ts';
import type { VmPaths } from './vm-store.ts';

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

/** Cuts a log that has grown above the limit; the writer appends, so it goes on at the start. A few bytes may be lost between copy and cut. */
export const trimLogs = async (paths: VmPaths): Promise<void> => {
  for (const path of [paths.consoleLog, paths.vmmLog]) {
    const file = await openRegular(path, constants.O_RDWR);
    if (file === undefined) continue;
    try {
      if ((await file.stat()).size <= consoleBytesMax) continue;
      if (path === paths.consoleLog)
        await writeFile(paths.consoleBefore, await tailOf(path, consoleShownBytes), { mode: 0o600 });
      await file.truncate(0);
    } finally {
      await file.close();
    }
  }
};

/** The last words of a VMM that has ended, for people. */
export const lastWords = async (paths: VmPaths): Promise<string> =>
  (await tailOf(paths.vmmLog, 1024)).toString('utf8').trim().split('\n').at(-1)?.slice(0, 300) ?? '';
