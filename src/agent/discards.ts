/**
 * Directories of VMs that are destroyed (S1.12) wait here to be overwritten: the VM is gone at once, its bytes a moment later. Who comes
 * after a crash goes on with what is left. A directory that cannot be overwritten stays, and a scrub of the host fails for it (I8).
 */
import { mkdir, readdir, rename } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Coalesced } from '#base/coalesced.ts';
import { wipe } from '#base/wipe.ts';

export interface DiscardsOptions {
  readonly stateDir: string;
  /** Told once of each directory that could not be overwritten. */
  failed(name: string, error: unknown): void;
}

export class Discards {
  readonly dir: string;
  readonly #failed: DiscardsOptions['failed'];
  readonly #told = new Set<string>();
  readonly #work = new Coalesced(() => this.#round());
  #number = 0;

  constructor({ stateDir, failed }: DiscardsOptions) {
    this.dir = join(stateDir, 'discarded');
    this.#failed = failed;
  }

  /** Before the first is taken. */
  async open(): Promise<void> {
    await mkdir(this.dir, { recursive: true, mode: 0o700 });
  }

  /** Takes a directory out of the way; absent: nothing. Resolves when it is here, not when it is overwritten. */
  async take(path: string): Promise<void> {
    // Somebody may have tidied it away.
    await this.open();
    for (;;) {
      this.#number += 1;
      const moved = await rename(path, join(this.dir, `${basename(path)}.${this.#number}`)).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT') return true;
          // Of another file system: there is nothing to be put off to.
          if (error.code === 'EXDEV') return wipe(path).then(() => true);
          // One that an earlier agent has left there has this name.
          if (error.code === 'ENOTEMPTY' || error.code === 'EEXIST') return false;
          throw error;
        },
      );
      if (moved) break;
    }
    this.poke();
  }

  /** Goes on with what is there, beside everything else. */
  poke(): void {
    void this.settle().catch(() => undefined);
  }

  /** Resolves when everything was tried that is there now, with what is left, for people; empty: nothing of a tenant's. */
  async settle(): Promise<readonly string[]> {
    await this.#work.run();
    return this.#names();
  }

  async #names(): Promise<string[]> {
    return readdir(this.dir).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
  }

  /** One after the other: it is work for the disk that nobody waits for. */
  async #round(): Promise<void> {
    for (const name of await this.#names())
      await wipe(join(this.dir, name)).catch((error: unknown) => {
        if (this.#told.has(name)) return;
        this.#told.add(name);
        this.#failed(name, error);
      });
  }
}
