/** The logs of the parts of one process: a file each, of bounded size, so that `pando logs` shows them as those of processes. */
import { appendFileSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Logger, loggerTo } from '#base/log.ts';

/** Of a part's file; as much again is kept of what came before. */
const fileBytesMax = 4 * 1024 * 1024;

class BoundedFile {
  readonly #path: string;
  #bytes: number;

  constructor(path: string) {
    this.#path = path;
    this.#bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  }

  write(line: string): void {
    if (this.#bytes > fileBytesMax) {
      renameSync(this.#path, `${this.#path}.1`);
      this.#bytes = 0;
    }
    // A disk that is full, or a directory that was removed, must not end the region: the line is lost.
    try {
      appendFileSync(this.#path, line, { mode: 0o600 });
      this.#bytes += Buffer.byteLength(line);
    } catch {}
  }
}

/** Makes the logger of a part, in `directory`. */
export const partLogs = (directory: string): ((part: string) => Logger) => {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return (part) => loggerTo(part, new BoundedFile(join(directory, `${part}.log`)));
};
