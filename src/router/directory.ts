/** The cells of the region, kept up to date; with the region gone the last list holds (static stability). */

import type { TlsMaterial } from '#base/identity.ts';
import type { Logger } from '#base/log.ts';
import type { CellRecord } from '#contracts/region.ts';
import { Cell } from './cell.ts';
import type { RouterLimits } from './config.ts';
import { LethalRequests } from './lethalRequests.ts';
import { unavailable } from './outcome.ts';
import type { RegionLink } from './regionLink.ts';

export class CellDirectory {
  readonly #cells = new Map<number, Cell>();
  readonly #region: RegionLink;
  readonly #tls: TlsMaterial;
  readonly #limits: RouterLimits;
  readonly #log: Logger;
  /** One memory for all cells: what killed one is not offered to the next. */
  readonly #lethal = new LethalRequests();
  #timer: NodeJS.Timeout | undefined;
  #loaded = false;
  /** Said once when it begins and once when it is over, not at every attempt. */
  #stale = false;
  #refreshing: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #cellsPerAccount: number;

  constructor(region: RegionLink, tls: TlsMaterial, limits: RouterLimits, log: Logger) {
    this.#region = region;
    this.#tls = tls;
    this.#limits = limits;
    this.#log = log;
    this.#cellsPerAccount = limits.cellsPerAccount;
    this.#timer = setInterval(() => void this.#tick(), limits.cellsEveryMs);
  }

  /** Whether the list was ever had. */
  get loaded(): boolean {
    return this.#loaded;
  }

  /** How many cells an account launches in (S3.9), as the region says it to all routers. */
  get cellsPerAccount(): number {
    return this.#cellsPerAccount;
  }

  /** Every cell, by number. @throws `Unavailable` if the region never told us. */
  async all(): Promise<readonly Cell[]> {
    if (!this.#loaded) await this.refresh();
    if (!this.#loaded) throw unavailable('The list of cells is not known yet. Retry your request.');
    return this.known;
  }

  /** Every cell that is known of, by number. */
  get known(): readonly Cell[] {
    return [...this.#cells.values()].sort((a, b) => a.record.number - b.record.number);
  }

  /** The cell of that number; an unknown number is asked of the region once more: the cell may be new. */
  async byNumber(number: number): Promise<Cell | undefined> {
    await this.all();
    if (!this.#cells.has(number)) await this.refreshAnew();
    return this.#cells.get(number);
  }

  /** Fetches the list. Callers at the same time share one call; a failure leaves the list as it is. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#fetch().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** The same for who misses a cell in the list: it may have joined after the fetch under way was answered, so the next one counts. */
  refreshAnew(): Promise<void> {
    if (this.#refreshing === undefined) return this.refresh();
    this.#next ??= this.#refreshing.then(() => {
      this.#next = undefined;
      return this.refresh();
    });
    return this.#next;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const cell of this.#cells.values()) cell.close();
    this.#cells.clear();
  }

  async #tick(): Promise<void> {
    await Promise.all([this.refresh(), ...this.known.map((cell) => cell.probe())]);
  }

  async #fetch(): Promise<void> {
    try {
      const { cells, cellsPerAccount } = await this.#region.cells();
      this.#cellsPerAccount = cellsPerAccount ?? this.#limits.cellsPerAccount;
      if (this.#timer !== undefined) this.#apply(cells);
      if (this.#stale) this.#log.info('the list of cells is fetched again');
      this.#stale = false;
    } catch (error) {
      if (!this.#stale)
        this.#log.warn({ err: error }, 'the list of cells could not be fetched; the last one holds');
      this.#stale = true;
    }
  }

  #apply(records: readonly CellRecord[]): void {
    const numbers = new Set(records.map(({ number }) => number));
    for (const [number, cell] of this.#cells) {
      if (numbers.has(number)) continue;
      cell.close();
      this.#cells.delete(number);
    }
    for (const record of records) this.#put(record);
    this.#loaded = true;
  }

  #put(record: CellRecord): void {
    const present = this.#cells.get(record.number);
    if (present !== undefined && sameStreams(present.record, record)) {
      present.record = record;
      return;
    }
    present?.close();
    this.#cells.set(record.number, new Cell(record, this.#tls, this.#limits, this.#lethal));
    this.#log.info({ cell: record.cellId, processors: record.processors }, 'cell');
  }
}

const sameStreams = (a: CellRecord, b: CellRecord): boolean =>
  a.cellId === b.cellId && a.processors.join() === b.processors.join();
