/**
 * Ownership as (holder, epoch), changed by compare-and-set over a row of a table.
 *
 * Who wants to act takes the row under an epoch that is higher than any before; every later write names that epoch and is
 * refused when another has taken over since. So a holder that was frozen and wakes up can do no harm.
 */
import { type QueryExecutorProvider, sql } from 'kysely';
import { PandoError } from '#contracts/errors.ts';

/** Names the columns that carry an ownership. All are constants of the program, never input. */
export interface OwnershipColumns {
  readonly table: string;
  readonly id: string;
  /** Nullable text: nobody holds it. */
  readonly holder: string;
  /** bigint not null; grows by each change of hands. */
  readonly epoch: string;
}

/** Who holds a thing, and under which epoch. */
export interface Ownership {
  readonly holder: string | null;
  readonly epoch: number;
}

/** What a compare-and-set came to: `changed` and `unchanged` both mean that the wanted ownership is in force. */
export type CasOutcome =
  | { readonly kind: 'changed'; readonly ownership: Ownership }
  | { readonly kind: 'unchanged'; readonly ownership: Ownership }
  | { readonly kind: 'stale'; readonly ownership: Ownership }
  | { readonly kind: 'absent' };

type Row = { holder: string | null; epoch: number; changed: boolean };

/** What a row says about the wanted ownership. */
const outcomeOf = (row: Row | undefined, wanted: Ownership): CasOutcome => {
  if (row === undefined) return { kind: 'absent' };
  const ownership = { holder: row.holder, epoch: row.epoch };
  if (row.changed) return { kind: 'changed', ownership };
  const same = row.epoch === wanted.epoch && row.holder === wanted.holder;
  return { kind: same ? 'unchanged' : 'stale', ownership };
};

/** The compare-and-set primitive over one table. Every method takes the connection or transaction to run on. */
export class OwnershipTable {
  readonly #columns: OwnershipColumns;

  constructor(columns: OwnershipColumns) {
    this.#columns = columns;
  }

  /**
   * Sets (holder, epoch) where the stored epoch is lower. Equal epoch and equal holder: `unchanged`, so a repeated call is
   * harmless. Equal epoch and another holder, or a higher epoch: `stale` (two who chose the same epoch: the first wins).
   */
  async set(db: QueryExecutorProvider, id: string, wanted: Ownership): Promise<CasOutcome> {
    assertEpoch(wanted.epoch);
    const { table, holder, epoch, id: key } = this.#refs();
    const { rows } = await sql<Row>`
      with changed as (
        update ${table} set ${holder} = ${wanted.holder}, ${epoch} = ${wanted.epoch}
        where ${key} = ${id} and ${epoch} < ${wanted.epoch}
        returning ${holder} as holder, ${epoch} as epoch
      )
      select holder, epoch, true as changed from changed
      union all
      select ${holder}, ${epoch}, false from ${table} where ${key} = ${id} and not exists (select from changed)`.execute(
      db,
    );
    const outcome = outcomeOf(rows[0], wanted);
    // The second branch reads the statement's snapshot: a rival that committed while we waited for its row lock is not in
    // it, and an epoch lower than ours would show. A fresh statement sees the rival.
    return outcome.kind === 'stale' && outcome.ownership.epoch < wanted.epoch
      ? this.#reread(db, id, wanted)
      : outcome;
  }

  /**
   * Takes the thing for `holder` if it is as the caller saw it (`seen`): the epoch grows by one. Of two that saw the same,
   * one gets `changed`, the other `stale`.
   */
  async take(
    db: QueryExecutorProvider,
    id: string,
    holderName: string,
    seen: Ownership,
  ): Promise<CasOutcome> {
    assertEpoch(seen.epoch);
    const { table, holder, epoch, id: key } = this.#refs();
    const { rows } = await sql<Row>`
      update ${table} set ${holder} = ${holderName}, ${epoch} = ${epoch} + 1
      where ${key} = ${id} and ${epoch} = ${seen.epoch} and ${holder} is not distinct from ${seen.holder}
      returning ${holder} as holder, ${epoch} as epoch, true as changed`.execute(db);
    if (rows[0] !== undefined) return outcomeOf(rows[0], seen);
    const now = await this.read(db, id);
    return now === undefined ? { kind: 'absent' } : { kind: 'stale', ownership: now };
  }

  /** Locks the row and checks that `claimed` is still in force, for writes that follow in the same transaction. */
  async assertHeld(tx: QueryExecutorProvider, id: string, claimed: Ownership): Promise<void> {
    const { table, holder, epoch, id: key } = this.#refs();
    const { rows } = await sql<Ownership>`
      select ${holder} as holder, ${epoch} as epoch from ${table} where ${key} = ${id} for no key update`.execute(
      tx,
    );
    const now = rows[0];
    if (now?.epoch !== claimed.epoch || now.holder !== claimed.holder) throw staleEpoch(id, claimed, now);
  }

  /** The ownership now; undefined: there is no such row. */
  async read(db: QueryExecutorProvider, id: string): Promise<Ownership | undefined> {
    const { table, holder, epoch, id: key } = this.#refs();
    const { rows } = await sql<Ownership>`
      select ${holder} as holder, ${epoch} as epoch from ${table} where ${key} = ${id}`.execute(db);
    return rows[0];
  }

  async #reread(db: QueryExecutorProvider, id: string, wanted: Ownership): Promise<CasOutcome> {
    const now = await this.read(db, id);
    return outcomeOf(now && { ...now, changed: false }, wanted);
  }

  #refs() {
    const { table, id, holder, epoch } = this.#columns;
    return { table: sql.table(table), id: sql.ref(id), holder: sql.ref(holder), epoch: sql.ref(epoch) };
  }
}

/** The error for a write under an ownership that is not in force any more. */
export const staleEpoch = (id: string, claimed: Ownership, now: Ownership | undefined): PandoError =>
  new PandoError(
    'StaleEpoch',
    `${id}: epoch ${claimed.epoch} is not in force (now ${now === undefined ? 'absent' : `epoch ${now.epoch}`}).`,
  );

const assertEpoch = (epoch: number): void => {
  if (!Number.isSafeInteger(epoch) || epoch < 0) throw new RangeError(`${epoch} is not an epoch`);
};
