/** Carries a request out in one transaction, once per idempotency key where it has one, and wakes streams afterwards. */
import type { App, Unit } from './app.ts';
import { type OnceResult, once } from './ledger/idempotency.ts';
import type { Queryable } from './store/pool.ts';
import { transaction } from './store/transaction.ts';

const backgroundMax = 1_000;

const unitOf = (app: App, on: Queryable, nowMs: number): Unit => ({
  app,
  on,
  nowMs,
  told: new Set(),
  afterwards: [],
});

/** A plain transaction: for requests that do the same when repeated, or that a nonce protects. */
export async function inUnit<Result>(app: App, work: (unit: Unit) => Promise<Result>): Promise<Result> {
  let done: Unit | undefined;
  const result = await transaction(app.pool, (client) => {
    done = unitOf(app, client, app.clock());
    return work(done);
  });
  finish(done);
  return result;
}

/** Once per (person, key): see `ledger/idempotency.ts`. */
export async function onceInUnit<Answer>(
  app: App,
  request: { readonly personId: string; readonly key: string; readonly request: string },
  work: (unit: Unit) => Promise<Answer>,
): Promise<OnceResult<Answer>> {
  let done: Unit | undefined;
  const nowMs = app.clock();
  const result = await once(app.pool, { ...request, nowMs }, (client) => {
    done = unitOf(app, client, nowMs);
    return work(done);
  });
  if (!result.replayed && 'answer' in result.outcome) finish(done);
  return result;
}

/** After the COMMIT: streams are woken, and what nobody waits for is begun. */
function finish(unit: Unit | undefined): void {
  if (unit === undefined) return;
  const { app, nowMs } = unit;
  app.live.wake(unit.told);
  for (const work of unit.afterwards) {
    if (app.background.size >= backgroundMax) return;
    const running = transaction(app.pool, (client) => work(unitOf(app, client, nowMs)))
      .catch((error: unknown) => app.log.warn({ error: String(error) }, 'work after the answer failed'))
      .finally(() => app.background.delete(running));
    app.background.add(running);
  }
}
