/** Whose the files of a run are. Done by root before a process starts: what an earlier release left as root's is handed over. */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
} from 'node:fs';
import { openPath } from '#base/openPath.ts';
import type { User } from './users.ts';

/** What the owner alone may enter. */
const directoryMode = 0o700;

/**
 * Gives a file, or a directory with all in it, to a user. A missing directory is made. A directory of the user's may contain files of
 * root's, after a way back to the release whose processes were all root's. A process of the user's may run meanwhile, and may have been
 * taken over: whatever it puts in the place of a file, nothing outside of the directory is given away.
 * Files with a second hard link keep their owner: they are shared (images with the machine's cache) and only read.
 */
export function give(path: string, { uid, gid }: User): void {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) mkdirSync(path, { mode: directoryMode });
  handOver(path, { uid, gid });
}

/** All but the last part of `path` leads to a descriptor that is open, or through directories of root's. */
function handOver(path: string, user: User): void {
  const file = openUnfollowed(path);
  // Its process has removed it.
  if (file === undefined) return;
  try {
    const found = fstatSync(file);
    const at = `/proc/self/fd/${file}`;
    if (found.isDirectory()) for (const name of readdirSync(at)) handOver(`${at}/${name}`, user);
    else if (found.nlink > 1) return;
    // The very file that was looked at, whatever has its name by now.
    if (found.uid !== user.uid || found.gid !== user.gid) chownSync(at, user.uid, user.gid);
  } finally {
    closeSync(file);
  }
}

function openUnfollowed(path: string): number | undefined {
  try {
    return openSync(path, openPath | constants.O_NOFOLLOW);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A file in a directory of another user's: read only if it is one, never by way of a link, and without waiting; undefined otherwise. */
export function readUnfollowed(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    return fstatSync(file).isFile() ? readFileSync(file, 'utf8') : undefined;
  } finally {
    closeSync(file);
  }
}

/** A directory of root's that nobody else may enter. */
export function closed(path: string): void {
  mkdirSync(path, { recursive: true, mode: directoryMode });
  chmodSync(path, directoryMode);
}

/** Lets everybody pass through a directory, and nobody look into it. */
export function passable(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o711 });
  chmodSync(path, 0o711);
}
