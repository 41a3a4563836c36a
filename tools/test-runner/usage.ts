/** What the test files took: wall time and processor time. What a whole run's time is made of. */
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/** A file below the runner's directory in which the process of a test file leaves its processor time. */
export const usageFile = (file: string): string => `${file.replaceAll('/', '+')}.ticks`;

/** The kernel's, on every machine that Linux runs on today. */
const ticksPerSecond = 100;

interface Usage {
  readonly file: string;
  readonly seconds: number;
  /** Of the file's process and of all that it started and waited for; absent: it was killed. */
  readonly cpuSeconds: number | undefined;
}

const shown = (value: number | undefined, width: number, digits = 1): string =>
  (value?.toFixed(digits) ?? '?').padStart(width);

export class Usages {
  readonly #directory: string;
  readonly #home: string;
  readonly #all: Usage[] = [];

  constructor(directory: string, home: string) {
    this.#directory = directory;
    this.#home = home;
  }

  add(file: string, seconds: number): void {
    this.#all.push({ file, seconds, cpuSeconds: this.#cpuOf(file) });
  }

  #cpuOf(file: string): number | undefined {
    try {
      return Number(readFileSync(join(this.#directory, usageFile(file)), 'utf8')) / ticksPerSecond;
    } catch {
      return undefined;
    }
  }

  /** Lines of a table, the slowest first, and one with the sums of all. */
  table(count: number): string[] {
    const slowest = this.#all.toSorted((one, other) => other.seconds - one.seconds).slice(0, count);
    const sum = (of: (usage: Usage) => number): number =>
      this.#all.reduce((total, each) => total + of(each), 0);
    const wall = sum(({ seconds }) => seconds);
    const cpu = sum(({ cpuSeconds }) => cpuSeconds ?? 0);
    return [
      '   wall s    CPU s  cores',
      ...slowest.map(
        ({ file, seconds, cpuSeconds }) =>
          `${shown(seconds, 9)}${shown(cpuSeconds, 9)}${shown(cpuSeconds && cpuSeconds / seconds, 7, 2)}  ${relative(this.#home, file)}`,
      ),
      `${shown(wall, 9)}${shown(cpu, 9)}${shown(cpu / wall, 7, 2)}  all ${this.#all.length} files`,
    ];
  }
}
