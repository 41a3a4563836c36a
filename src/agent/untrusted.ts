/**
 * Files in a directory that a VMM may write. Whoever broke out of a VMM may have put a link, a FIFO or a device in the place of any of
 * them: it is opened without following a link and without waiting, and used only if it is what it should be.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { openPath } from '#base/openPath.ts';
import { PandoError } from '#contracts/errors.ts';

/** The regular file at `path`; anything else, or nothing, is undefined. `flags` as of open(2). */
export const openRegular = async (path: string, flags: number): Promise<FileHandle | undefined> => {
  const file = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => undefined);
  if (file === undefined || (await file.stat()).isFile()) return file;
  await file.close();
  return undefined;
};

/**
 * Does `work` with a path that leads to the very socket at `path`, whatever is put in its place meanwhile, and that is short enough
 * for any socket's address. `NotReady`: there is no socket of `owner`'s.
 */
export const withSocket = async <T>(
  path: string,
  owner: number,
  work: (path: string) => Promise<T>,
): Promise<T> => {
  const file = await open(path, openPath | constants.O_NOFOLLOW).catch((cause) => {
    throw new PandoError('NotReady', 'The VMM has no monitor yet.', { cause });
  });
  try {
    const found = await file.stat();
    if (!found.isSocket() || found.uid !== owner)
      throw new PandoError('NotReady', `${path} is not the VMM's socket.`);
    return await work(`/proc/self/fd/${file.fd}`);
  } finally {
    await file.close();
  }
};
