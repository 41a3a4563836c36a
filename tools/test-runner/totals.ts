/** Adds up the figures that each file's run reports at its end, so that they are printed once for all. */
import type { TestEvent } from './output.ts';

const figure = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/;

export class Totals {
  readonly #sums = new Map<string, number>();
  readonly #begun = performance.now();

  /** Whether this event was a figure of a run's summary, now taken into account. */
  take(event: TestEvent): boolean {
    const { type, data } = event as {
      type: string;
      data: { message?: string; nesting?: number; file?: string };
    };
    if (type === 'test:summary') return true;
    if (type !== 'test:diagnostic' || data.nesting !== 0) return false;
    const match = figure.exec(data.message ?? '');
    if (match?.[1] === undefined) return false;
    this.#sums.set(match[1], (this.#sums.get(match[1]) ?? 0) + Number(match[2]));
    return true;
  }

  of(name: string): number {
    return this.#sums.get(name) ?? 0;
  }

  /** The sums; of the time, what has passed: files run side by side. */
  get events(): TestEvent[] {
    this.#sums.set('duration_ms', Math.round(performance.now() - this.#begun));
    return [...this.#sums].map(([name, sum]) => ({
      type: 'test:diagnostic',
      data: { nesting: 0, message: `${name} ${sum}`, level: 'info' },
    }));
  }
}
