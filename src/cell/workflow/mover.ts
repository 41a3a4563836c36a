/**
 * Writes a workflow's row: each move is one fenced transaction with the effects that belong to it. A store that is away is waited
 * for; a transaction that the store refuses for what is in it is tried a few times and then given back (`Poisoned`).
 */
import type { Logger } from '#base/log.ts';
import type { Clock } from '../clock.ts';
import { commitTriesMax } from '../limits.ts';
import type { Database, Sql } from '../store/sql.ts';
import {
  findWorkflow,
  insertWorkflow,
  MoveRefused,
  type NewWorkflow,
  type WorkflowRow,
} from '../store/workflows.ts';
import { Lost } from './attempt.ts';
import { retryClassOf } from './retry.ts';
import { type EngineTiming, jittered } from './timing.ts';

export interface MoverOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly stop: AbortSignal;
  readonly timing: EngineTiming;
}

/** The store refuses the transaction for what is in it: trying it once more would not help. */
export class Poisoned extends Error {
  constructor(cause: unknown) {
    super('the store refuses this step’s transaction', { cause });
  }
}

/** The move was refused because a cancellation was asked for, which is honoured first. */
export class CancelFirst extends Error {}

export interface Move {
  /** What the row is when the move has happened. */
  readonly to: Pick<WorkflowRow, 'state' | 'cursor' | 'step'> & Partial<WorkflowRow>;
  /** The store's other effects; returns workflows that begin with this move. */
  effects(tx: Sql): Promise<readonly NewWorkflow[]>;
  /** The change of the row itself. @throws MoveRefused */
  write(tx: Sql, known: WorkflowRow): Promise<void>;
  /** After the change of the row, in the same transaction. */
  after?(tx: Sql): Promise<void>;
}

export class Mover {
  readonly #options: MoverOptions;
  #row: WorkflowRow;

  constructor(options: MoverOptions, row: WorkflowRow) {
    this.#options = options;
    this.#row = row;
  }

  /** The row as the store has it. */
  get row(): WorkflowRow {
    return this.#row;
  }

  /**
   * Carries a move out once; returns the rows of workflows that begin with it. If the lost answer was to a commit that did happen,
   * the row shows it.
   * @throws Lost, CancelFirst, Poisoned, or a `PandoError` that refuses.
   */
  async move(move: Move): Promise<readonly WorkflowRow[]> {
    const { clock, log, stop, timing } = this.#options;
    let pauseMs = timing.storeRetryMsMin;
    for (let faults = 0; ; ) {
      if (stop.aborted) throw new Lost();
      try {
        return await this.#once(move);
      } catch (error) {
        if (stop.aborted) throw new Lost();
        if (error instanceof MoveRefused) {
          if (await this.#hasMoved(move.to)) return [];
        } else {
          const failed = retryClassOf(error);
          if (failed === 'refused') throw error;
          if (failed === 'fault' && ++faults >= commitTriesMax) throw new Poisoned(error);
          log.warn({ err: error, workflow: this.#row.id }, 'the store did not take a move: trying again');
          await clock.sleep(jittered(pauseMs), stop);
          pauseMs = Math.min(pauseMs * 2, timing.storeRetryMsMax);
        }
      }
    }
  }

  async #once({ to, effects, write, after }: Move): Promise<readonly WorkflowRow[]> {
    const rows = await this.#options.db.transaction(async (tx) => {
      const begins = await effects(tx);
      await write(tx, this.#row);
      await after?.(tx);
      const made: WorkflowRow[] = [];
      for (const workflow of begins) made.push(await insertWorkflow(tx, workflow, this.#row.owner));
      return made;
    });
    this.#row = { ...this.#row, ...to };
    return rows;
  }

  /** Why a move was refused: it had happened (true), a cancellation comes first, or the row has another owner. */
  async #hasMoved(to: Move['to']): Promise<boolean> {
    const row = await this.assertOwned();
    if (row.state === to.state && row.cursor === to.cursor && row.step === to.step) {
      this.#row = row;
      return true;
    }
    if (!row.cancel) throw new Lost();
    throw new CancelFirst();
  }

  /** @throws Lost when another has taken the row over. */
  async assertOwned(): Promise<WorkflowRow> {
    const row = await findWorkflow(this.#options.db, this.#row.id);
    if (row === undefined || row.owner !== this.#row.owner || row.epoch !== this.#row.epoch) throw new Lost();
    return row;
  }
}
