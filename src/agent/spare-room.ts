/**
 * Room that is kept for the agent's own records. On a file system that guests have filled, stopping or destroying a VM, which is what
 * makes room again, must still be written down. So a file of some MiB is given up then, a little at a time, since guests that still write take
 * what they find too; it is made again when there is room.
 */
import { open, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { isNoSpace, roomOf } from './room.ts';

const chunkBytes = 256 * 1024;
/** Given up for one record at a time, and how often for the same one. */
const pieceBytes = 64 * 1024;
const piecesPerWriteMax = 8;
const mib = 1024 * 1024;

/** Does what writes; see {@link SpareRoom.write}. */
export type Write = <T>(work: () => Promise<T>) => Promise<T>;
export const writeOnce: Write = (work) => work();

export class SpareRoom {
  readonly #directory: string;
  readonly #path: string;
  readonly #bytes: number;
  #filling = false;

  constructor(directory: string, bytes: number) {
    this.#directory = directory;
    this.#path = join(directory, 'spare-room');
    this.#bytes = bytes;
  }

  /** Does `write`; where it finds no room, a piece of the spare room is given up and it is done once more. */
  async write<T>(write: () => Promise<T>): Promise<T> {
    for (let pieces = 0; ; pieces++)
      try {
        return await write();
      } catch (error) {
        if (!isNoSpace(error) || pieces >= piecesPerWriteMax || !(await this.#giveUp())) throw error;
      }
  }

  /** Makes it again if it is not whole and there is room for more than it. */
  async refill(): Promise<void> {
    if (this.#filling || (await this.#kept()) >= this.#bytes) return;
    this.#filling = true;
    try {
      if ((await roomOf(this.#directory)).availableMib * mib > 4 * this.#bytes) await this.#fill();
    } finally {
      this.#filling = false;
    }
  }

  async #kept(): Promise<number> {
    return (await stat(this.#path).catch(() => undefined))?.size ?? 0;
  }

  /** Whether there was any. */
  async #giveUp(): Promise<boolean> {
    const kept = await this.#kept();
    if (kept === 0) return false;
    await truncate(this.#path, Math.max(0, kept - pieceBytes));
    return true;
  }

  /** Written, not only made long: a file with holes takes no room. */
  async #fill(): Promise<void> {
    const file = await open(this.#path, 'w', 0o600); // From its beginning: what is left of it is room for it too.
    try {
      const chunk = Buffer.alloc(chunkBytes, 1);
      for (let at = 0; at < this.#bytes; at += chunkBytes) await file.write(chunk);
      await file.datasync();
    } finally {
      await file.close();
    }
  }
}
