/** Engines over tables of a test's own and one real PostgreSQL: processors that can be killed, without hosts or a region. */
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { ensureDatabase } from '#base/postgres/create.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { migrate } from '#base/postgres/migrate.ts';
import { systemClock } from '#cell/clock.ts';
import { dropLease, renewLease } from '#cell/store/processors.ts';
import { cellSchema } from '#cell/store/schema.ts';
import { type CellSchema, type Database, databaseOver } from '#cell/store/sql.ts';
import { findWorkflow, insertWorkflow, type NewWorkflow, type WorkflowRow } from '#cell/store/workflows.ts';
import type { ErasedDefinition, StepContext } from '#cell/workflow/definition.ts';
import { WorkflowEngine } from '#cell/workflow/engine.ts';
import { type Faults, noFaults } from '#cell/workflow/faults.ts';
import type { EngineTiming } from '#cell/workflow/timing.ts';
import { awaitChildren, startChildren } from '#cell/workflow/wait.ts';
import { newCellId } from '#contracts/ids.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { until } from './harness.ts';

/** What a test's steps may reach. */
export interface ModelServices {
  readonly db: Database;
  readonly processor: string;
}
export type ModelDefinition = ErasedDefinition<ModelServices>;

export interface ModelProcessor {
  readonly engine: WorkflowEngine<ModelServices>;
  readonly db: Database;
  /** What it reaches (`host/h-1`); changed by tests. */
  readonly reached: Set<string>;
  readonly alarms: Record<string, unknown>[];
  /** Stops dead: nothing of it reaches the store any more. */
  kill(): void;
  stop(): Promise<void>;
}

export interface ModelProcessorOptions {
  readonly definitions: readonly ModelDefinition[];
  readonly faults?: Faults;
  readonly timing?: Partial<EngineTiming>;
  readonly concurrencyMax?: number;
  /** Makes each transaction throw what it answers. */
  poison?(): unknown;
}

export const fastTiming: Partial<EngineTiming> = {
  ...{ duePollMs: 50, retryInMemoryMs: 20, parkMsMin: 20, parkMsMax: 100, busyWaitMs: 300 },
  ...{ storeRetryMsMin: 10, storeRetryMsMax: 50 },
};
const leaseTtlMs = 500;
const renewEveryMs = 50;
const never = (): Promise<never> => new Promise(() => undefined);

export class ModelStore {
  readonly #server: TestDatabase;
  readonly url: string;
  readonly #processors: ModelProcessor[] = [];
  readonly #handle;
  readonly db: Database;

  private constructor(server: TestDatabase, url: string) {
    this.#server = server;
    this.url = url;
    this.#handle = openDatabase<CellSchema>({ url });
    this.db = databaseOver(this.#handle);
  }

  static async open(): Promise<ModelStore> {
    const server = await startTestDatabase();
    const store = new ModelStore(
      server,
      await ensureDatabase(server.url, `m_${randomBytes(5).toString('hex')}`),
    );
    await migrate(store.#handle, cellSchema);
    await store.db.query('create table effects (workflow_id text, what text, seq serial)');
    return store;
  }

  async processor(options: ModelProcessorOptions): Promise<ModelProcessor> {
    const gate = { dead: false };
    const handle = openDatabase<CellSchema>({ url: this.url, poolMax: 6 });
    const db = gated(databaseOver(handle), gate, options.poison);
    const owner = `p/${randomBytes(5).toString('hex')}`;
    const reached = new Set<string>();
    const alarms: Record<string, unknown>[] = [];
    const log = pino({ level: 'error' }, { write: (line) => void alarms.push(JSON.parse(line)) });
    const engine = new WorkflowEngine<ModelServices>({
      ...{ db, owner, definitions: options.definitions, clock: systemClock, log },
      services: { db, processor: owner },
      faults: options.faults ?? noFaults,
      timing: { ...fastTiming, ...options.timing },
      newWorkflowId: () => newCellId('workflow', 1),
      reached: () => [...reached],
      ...(options.concurrencyMax === undefined ? {} : { concurrencyMax: options.concurrencyMax }),
    });
    await renewLease(db, owner, owner, leaseTtlMs);
    const timer = setInterval(() => {
      if (gate.dead) return;
      void renewLease(db, owner, owner, leaseTtlMs).catch(() => undefined);
      void engine.adopt().catch(() => undefined);
    }, renewEveryMs);
    engine.watch();
    const end = (): void => {
      clearInterval(timer);
      engine.stop();
    };
    const processor: ModelProcessor = {
      ...{ engine, db, reached, alarms },
      kill: () => {
        if (gate.dead) return;
        gate.dead = true;
        end();
        void handle.destroy().catch(() => undefined);
      },
      stop: async () => {
        if (gate.dead) return;
        end();
        await dropLease(db, owner);
        gate.dead = true;
        await handle.destroy();
      },
    };
    this.#processors.push(processor);
    return processor;
  }

  /** A workflow of this kind, begun at a processor. */
  async begin(
    by: ModelProcessor,
    workflow: Omit<NewWorkflow, 'id' | 'subject' | 'input'> & Partial<NewWorkflow>,
  ): Promise<string> {
    const made = { subject: 's', subjectKind: 'thing', input: {}, id: newCellId('workflow', 1), ...workflow };
    by.engine.start([await this.db.transaction((tx) => insertWorkflow(tx, made, by.engine.owner))]);
    return made.id;
  }

  async row(id: string): Promise<WorkflowRow> {
    const row = await findWorkflow(this.db, id);
    if (row === undefined) throw new Error(`${id} has no row`);
    return row;
  }

  /** Waits until a workflow is in one of these states. */
  reaches(id: string, ...states: readonly string[]): Promise<WorkflowRow> {
    return until(
      `${id} ${states.join(' or ')}`,
      async () => {
        const row = await this.row(id);
        return states.includes(row.state) && row;
      },
      20_000,
    );
  }

  /** What the steps' commits of a workflow have left, in order. */
  async effects(id: string): Promise<string[]> {
    const rows = await this.db.query<{ what: string }>(
      'select what from effects where workflow_id = $1 order by seq',
      [id],
    );
    return rows.map((row) => row.what);
  }

  async close(): Promise<void> {
    for (const processor of this.#processors) await processor.stop().catch(() => undefined);
    await this.#handle.destroy();
    await this.#server.stop();
  }
}

/** The store of a process that can die: then nothing of it is answered, and its open transaction is rolled back. */
const gated = (db: Database, gate: { dead: boolean }, poison: (() => unknown) | undefined): Database => {
  const guard = <T>(work: Promise<T>): Promise<T> =>
    work.then(
      (value) => (gate.dead ? never() : value),
      (error: unknown) => (gate.dead ? never() : Promise.reject(error)),
    );
  const check = (): void => {
    if (gate.dead) throw new Error('killed');
    const error = poison?.();
    if (error !== undefined) throw error;
  };
  return {
    query: (text, values) => (gate.dead ? never() : guard(db.query(text, values))),
    transaction: (work) =>
      gate.dead
        ? never()
        : guard(
            db.transaction(async (tx) => {
              check();
              const value = await work({
                query: async (text, values) => {
                  if (gate.dead) throw new Error('killed');
                  return tx.query(text, values);
                },
                send: (text, values, refused) => {
                  if (gate.dead) throw new Error('killed');
                  tx.send?.(text, values, refused);
                },
              });
              check();
              return value;
            }),
          ),
  };
};

/** A step's commit that leaves a trace in the store. */
export const leaveEffect =
  (what: string) =>
  async (
    tx: { query(text: string, values: readonly unknown[]): Promise<unknown> },
    context: { readonly workflowId: string },
  ): Promise<void> => {
    await tx.query('insert into effects (workflow_id, what) values ($1, $2)', [context.workflowId, what]);
  };

/** A step's `do` that starts children under these keys, and awaits them. Answers how many there were. */
export const withChildren =
  (keys: readonly string[]) =>
  async ({ children }: Pick<StepContext<unknown, never, ModelServices>, 'children'>) => {
    const begun = await children();
    const made = (key: string) => ({ key, kind: 'child', subjectKind: 'thing', subject: key, input: null });
    if (begun.length === 0) return startChildren(keys.map(made), 60_000);
    return begun.every((each) => each.ended) ? begun.length : awaitChildren(60_000);
  };
