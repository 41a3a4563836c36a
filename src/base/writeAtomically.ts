/** Files that a reader or a crash finds whole: the old text or the new one, on the disk when the call returns. */
import { closeSync, fsyncSync, openSync, renameSync, writeFileSync } from 'node:fs';
import { type FileHandle, link, open, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The owner alone may read: most of these files contain secrets. */
const modeDefault = 0o600;

/** Written under this name first. Two writers of one path must take turns. */
const beside = (path: string): string => `${path}.new`;

/** Replaces `path` by `text`: written beside, flushed, renamed, and the rename flushed with its directory. */
export const writeAtomically = async (path: string, text: string, mode = modeDefault): Promise<void> => {
  const file = await open(beside(path), 'w', mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside(path), path);
  // Without this a power cut may bring the old name's contents back after the caller acted on the new ones.
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
};

/**
 * Replaces `path` by `text` without waiting for the disk. A reader finds the old text or the new one, also after the writer was killed.
 * After a power cut it may find neither, so this is for facts that a power cut makes worthless anyway.
 */
export const writeWhole = async (path: string, text: string, mode = modeDefault): Promise<void> => {
  await writeFile(beside(path), text, { mode });
  await rename(beside(path), path);
};

/** Where the text before the present one stays, and where it is on its way there. */
const spareOf = (path: string): string => `${path}.spare`;
const leavingOf = (path: string): string => `${path}.leaving`;

/** All that {@link writeKept} may have left of a path. */
export const keptPaths = (path: string): readonly string[] => [path, spareOf(path), leavingOf(path)];

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;
const unless =
  (code: string) =>
  (error: unknown): undefined => {
    if (!isCode(error, code)) throw error;
    return undefined;
  };

/** A writer that died in the middle has left the old text under a name of its way: before the new one had taken its place, or after. */
const settleNames = async (path: string): Promise<void> => {
  const leaving = await stat(leavingOf(path)).catch(unless('ENOENT'));
  if (leaving === undefined) return;
  const present = await stat(path).catch(unless('ENOENT'));
  if (present?.ino === leaving.ino) await unlink(leavingOf(path));
  else await rename(leavingOf(path), spareOf(path));
};

/**
 * {@link writeWhole} for JSON with a tenant's secrets in it. Two files take turns under the name, and neither is ever made shorter (it
 * is filled up with spaces), so that no block with a secret is given back to the file system: who overwrites {@link keptPaths} has
 * overwritten every text that was ever written.
 */
export const writeKept = async (path: string, text: string, mode = modeDefault): Promise<void> => {
  const [spare, leaving] = [spareOf(path), leavingOf(path)];
  await settleNames(path);
  const file = await open(spare, 'r+', mode).catch((error: unknown): Promise<FileHandle> => {
    if (!isCode(error, 'ENOENT')) throw error;
    return open(spare, 'wx+', mode);
  });
  try {
    const { size } = await file.stat();
    const data = Buffer.from(text);
    const whole = Buffer.concat([data, Buffer.alloc(Math.max(0, size - data.length), ' ')]);
    await file.write(whole, 0, whole.length, 0);
  } finally {
    await file.close();
  }
  await link(path, leaving).catch(unless('ENOENT'));
  await rename(spare, path);
  await rename(leaving, spare).catch(unless('ENOENT'));
};

const flushed = (path: string, flags: string, mode: number, write: (fd: number) => void): void => {
  const fd = openSync(path, flags, mode);
  try {
    write(fd);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};

/** The same for programs that have nothing else to do meanwhile. */
export const writeAtomicallySync = (path: string, text: string | Uint8Array, mode = modeDefault): void => {
  flushed(beside(path), 'w', mode, (fd) => writeFileSync(fd, text));
  renameSync(beside(path), path);
  flushed(dirname(path), 'r', mode, () => undefined);
};
