/** Which code a process runs, so that one of another release is told from one of this. */
import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Which packages there are: a process runs their code too. */
const lockFile = 'package-lock.json';

const filesOf = (tree: string, room: string): string[] =>
  globSync(`src/${room}/**/*.ts`, { cwd: tree }).sort();

/** The rooms that the files of `room` import, and itself. Whole rooms: some files are run and not imported. */
function roomsOf(tree: string, room: string, seen = new Set<string>()): Set<string> {
  if (seen.has(room)) return seen;
  seen.add(room);
  for (const file of filesOf(tree, room))
    for (const [, imported = ''] of readFileSync(join(tree, file), 'utf8').matchAll(/'#([a-z]+)\//g))
      roomsOf(tree, imported, seen);
  return seen;
}

/** The files of `rooms`, and of the rooms that they import, relative to `tree`. */
export const filesOfRooms = (rooms: readonly string[], tree: string): string[] => {
  const all = new Set<string>();
  for (const room of rooms) roomsOf(tree, room, all);
  return [...all].sort().flatMap((each) => filesOf(tree, each));
};

/** Changes with the contents of what the processes of `room` (a folder of `src/` in `tree`) are made of. 16 hex digits. */
export const codeDigestOf = (room: string, tree: string): string => {
  const hash = createHash('sha256');
  for (const file of [lockFile, ...filesOfRooms([room], tree)])
    hash.update(`${file}\0`).update(readFileSync(join(tree, file)));
  return hash.digest('hex').slice(0, 16);
};
