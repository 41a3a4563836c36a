/**
 * Room that is kept for the agent's own records. On a file system that guests have filled, stopping or destroying a VM, which is what
 * makes room again, must still be written down. So a file of some MiB is given up then, and made again when there is room.
 */
import { open, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { isNoSpace, roomOf } from './room.ts';

const chunkBytes = 256 * 1024;
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

  /** Does `write`; where it finds no room, the spare room is given up and it is done once more. */
  async write<T>(write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (error) {
      if (!isNoSpace(error) || !(await this.#giveUp())) throw error;
      return write();
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
    if ((await this.#kept()) === 0) return false;
    await truncate(this.#path, 0);
    return true;
  }

  /** Written, not only made long: a file with holes takes no room. */
  async #fill(): Promise<void> {
    const file = await open(this.#path, 'w', 0o600);
    try {
      const chunk = Buffer.alloc(chunkBytes, 1);
      for (let at = 0; at < this.#bytes; at += chunkBytes) await file.write(chunk);
      await file.datasync();
    } finally {
      await file.close();
    }
  }
}
