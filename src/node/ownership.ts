/** Whose the files of a run are. Done by root before a process starts: what an earlier release left as root's is handed over. */
import { chmodSync, lchownSync, lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { User } from './users.ts';

/** What the owner alone may enter. */
const directoryMode = 0o700;

/**
 * Gives a file, or a directory with all in it, to a user. A missing directory is made. A directory of the user's may contain files of
 * root's, after a way back to the release whose processes were all root's. No process of the user's may run meanwhile.
 * Files with a second hard link keep their owner: they are shared (images with the machine's cache) and only read.
 */
export function give(path: string, { uid, gid }: User): void {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) mkdirSync(path, { mode: directoryMode });
  handOver(path, { uid, gid });
}

function handOver(path: string, user: User): void {
  const found = lstatSync(path);
  if (found.isDirectory()) for (const name of readdirSync(path)) handOver(join(path, name), user);
  else if (found.nlink > 1) return;
  if (found.uid !== user.uid || found.gid !== user.gid) lchownSync(path, user.uid, user.gid);
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
