/** Carries a request out in one transaction, once per idempotency key where it has one, and wakes streams afterwards. */
import type { App, Unit } from './app.ts';
import { type OnceResult, once } from './ledger/idempotency.ts';
import { transaction } from './store/transaction.ts';

/** A plain transaction: for requests that do the same when repeated, or that a nonce protects. */
export async function inUnit<Result>(app: App, work: (unit: Unit) => Promise<Result>): Promise<Result> {
  let told = new Set<string>();
  const result = await transaction(app.pool, (client) => {
    told = new Set();
    return work({ app, on: client, nowMs: app.clock(), told });
  });
  app.live.wake(told);
  return result;
}

/** Once per (person, key): see `ledger/idempotency.ts`. */
export async function onceInUnit<Answer>(
  app: App,
  request: { readonly personId: string; readonly key: string; readonly request: string },
  work: (unit: Unit) => Promise<Answer>,
): Promise<OnceResult<Answer>> {
  let told = new Set<string>();
  const nowMs = app.clock();
  const result = await once(app.pool, { ...request, nowMs }, (client) => {
    told = new Set();
    return work({ app, on: client, nowMs, told });
  });
  app.live.wake(told);
  return result;
}
