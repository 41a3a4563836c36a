/** Tells every connected processor how this host is: regularly, and a moment after something changed (S1.14). */
import { loadavg } from 'node:os';
import type { Logger } from '#base/log.ts';
import type { CellLinks } from './cell-link.ts';
import type { Host } from './host.ts';
import { changedReportMs } from './limits.ts';
import { memoryAvailableMib } from './memory.ts';
import { readKernelCounters } from './pressure/counters.ts';
import { PressureWindow } from './pressure/window.ts';

export class Reporter {
  readonly #host: Host;
  readonly #links: CellLinks;
  readonly #log: Logger;
  readonly #pressure = new PressureWindow();
  #sequence = 0;
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #again = false;
  /** The next report was put forward: further changes do not put it off. */
  #isSoon = false;
  #closed = false;

  constructor(host: Host, links: CellLinks, log: Logger) {
    this.#host = host;
    this.#links = links;
    this.#log = log;
    this.#schedule(this.#links.reportEveryMs);
  }

  /**
   * Something changed: reports soon, once for all that changes meanwhile. Not at once: what changes most is a VM in the middle of
   * something that others wait for. While one report is under way, one more follows it.
   */
  poke(): void {
    if (this.#running) this.#again = true;
    else if (!this.#isSoon) this.#schedule(changedReportMs);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #schedule(afterMs: number): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#isSoon = afterMs <= changedReportMs;
    this.#timer = setTimeout(() => void this.#round(), afterMs);
  }

  async #round(): Promise<void> {
    this.#running = true;
    this.#again = false;
    try {
      await this.#report();
      await this.#host.trim();
    } catch (error) {
      this.#log.warn({ err: error }, 'a report was not made');
    }
    this.#running = false;
    this.#schedule(this.#again ? changedReportMs : this.#links.reportEveryMs);
  }

  async #report(): Promise<void> {
    const { config, card, cgroups } = this.#host.context;
    const vms = await this.#host.reports();
    const memoryAvailable = await memoryAvailableMib(cgroups);
    const { diskMib, networkMbps } = await this.#host.capacity();
    const pressure = this.#pressure.look(readKernelCounters(this.#host, networkMbps));
    this.#sequence += 1;
    await this.#links.report({
      hostId: config.hostId,
      sequence: this.#sequence,
      card: card.status,
      memoryAvailableMib: memoryAvailable,
      loadAverage1: loadavg()[0] ?? 0,
      diskCapacityMib: diskMib,
      networkMbps,
      pressure,
      vms,
    });
  }
}
