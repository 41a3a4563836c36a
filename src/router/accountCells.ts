/**
 * Which cells an account is asked for in (S3.10): those of the region's index. It is asked each time, so that what one router launched
 * the next one describes. Without an answer all cells are asked, which is right as well and only costs more.
 */
import { monotonicMs } from '#base/monotonic.ts';
import type { Cell } from './cell.ts';
import type { CellDirectory } from './directory.ts';
import type { RegionLink } from './regionLink.ts';

/** After a lookup that failed the region is left alone for so long: not every describe waits for it. */
const restMs = 2_000;

export interface AccountCells {
  readonly cells: readonly Cell[];
  /** Cells of the index that nobody here knows: their share is missing. */
  readonly unknown: readonly string[];
}

export class AccountCellIndex {
  readonly #region: Pick<RegionLink, 'accountCells' | 'connected'>;
  readonly #directory: CellDirectory;
  #restUntilMs = Number.NEGATIVE_INFINITY;

  constructor(region: Pick<RegionLink, 'accountCells' | 'connected'>, directory: CellDirectory) {
    this.#region = region;
    this.#directory = directory;
  }

  async of(accountId: string): Promise<AccountCells> {
    const all = await this.#directory.all();
    const ids = await this.#lookUp(accountId);
    if (ids === undefined) return { cells: all, unknown: [] };
    const listed = new Set(ids);
    if (ids.some((id) => !all.some(({ record }) => record.cellId === id)))
      await this.#directory.refreshAnew();
    const cells = this.#directory.known.filter(({ record }) => listed.delete(record.cellId));
    return { cells, unknown: [...listed] };
  }

  async #lookUp(accountId: string): Promise<readonly string[] | undefined> {
    if (!this.#region.connected || monotonicMs() < this.#restUntilMs) return undefined;
    try {
      return await this.#region.accountCells(accountId);
    } catch {
      // Away, slow, or of the last release.
      this.#restUntilMs = monotonicMs() + restMs;
      return undefined;
    }
  }
}
