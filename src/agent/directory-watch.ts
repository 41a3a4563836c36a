/** Waits for a change in a directory without looking again and again: each look costs the agent as much as ten system calls. */
import { type FSWatcher, watch } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export class DirectoryWatch implements Disposable {
  readonly #watcher: FSWatcher | undefined;
  readonly #changed = Promise.withResolvers<void>();
  #hasChanged = false;

  /** A directory that is not there, or a machine that watches no more of them: waits last as long as they may. */
  constructor(directory: string) {
    try {
      this.#watcher = watch(directory, () => {
        this.#hasChanged = true;
        this.#changed.resolve();
      });
      this.#watcher.on('error', () => undefined);
    } catch {
      this.#watcher = undefined;
    }
  }

  /** Whether anything was made, changed or removed in it since the watch began. */
  get hasChanged(): boolean {
    return this.#hasChanged;
  }

  /** Resolves when {@link hasChanged} is true, after `msMax` at most. */
  async change(msMax: number): Promise<void> {
    const over = new AbortController();
    const late = sleep(msMax, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([this.#changed.promise, late]);
    over.abort();
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
  }
}
