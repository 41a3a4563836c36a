/** Secrets that a test plants on a host's file systems, and where they are found again: in raw files, and in files that are gone by name. */
import { linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Regular files at or below a directory; one that goes meanwhile is left out. */
export const filesBelow = (directory: string): string[] => {
  try {
    return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return filesBelow(path);
      return entry.isFile() ? [path] : [];
    });
  } catch {
    return [];
  }
};

/** Files in whose bytes one of the texts is, as it stands. */
export const filesWith = (texts: readonly string[], directories: readonly string[]): string[] =>
  directories.flatMap(filesBelow).filter((path) => {
    try {
      const bytes = readFileSync(path);
      return texts.some((text) => bytes.includes(text));
    } catch {
      return false;
    }
  });

/**
 * Keeps a second name of every file that lies below some directories now, so that its blocks can be read when its own name is gone: what
 * was only unlinked would still be found.
 */
export class Remembered implements Disposable {
  readonly #directory: string;
  #count = 0;

  /** `directory`: on the same file system. */
  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  remember(directories: readonly string[]): number {
    const known = new Set(filesBelow(this.#directory).map((path) => lstatSync(path).ino));
    for (const path of directories.flatMap(filesBelow)) {
      try {
        if (known.has(lstatSync(path).ino)) continue;
        linkSync(path, join(this.#directory, String(this.#count)));
        this.#count += 1;
      } catch {
        // It went meanwhile.
      }
    }
    return this.#count;
  }

  with(texts: readonly string[]): string[] {
    return filesWith(texts, [this.#directory]);
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
