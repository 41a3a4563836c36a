/** Carries a request out in one transaction, once per idempotency key where it has one, and wakes streams afterwards. */
import type { App, Unit } from './app.ts';
import { type Once, type OnceResult, once } from './ledger/idempotency.ts';
import { gather, type Queryable, send } from './store/pool.ts';
import { type Behind, transaction } from './store/transaction.ts';

const unitOf = (app: App, on: Queryable, nowMs: number, behind: Behind): Unit => ({
  app,
  on,
  nowMs,
  behind,
  told: new Set(),
  afterwards: [],
});

/** A plain transaction: for requests that do the same when repeated, or that a nonce protects. */
export async function inUnit<Result>(app: App, work: (unit: Unit) => Promise<Result>): Promise<Result> {
  let done: Unit | undefined;
  const result = await transaction(app.pool, (client, behind) => {
    done = unitOf(app, client, app.clock(), behind);
    return work(done);
  });
  finish(done);
  return result;
}

/** What a request does; or how it begins (see `Work` in `ledger/idempotency.ts`), and then goes on. */
export type UnitWork<Answer> =
  | ((unit: Unit) => Promise<Answer>)
  | { begin(unit: Unit): (unit: Unit) => Promise<Answer> };

/** Once per (person, key): see `ledger/idempotency.ts`. */
export async function onceInUnit<Answer>(
  app: App,
  request: Omit<Once, 'nowMs'>,
  work: UnitWork<Answer>,
): Promise<OnceResult<Answer>> {
  let done: Unit | undefined;
  const nowMs = app.clock();
  const goOn =
    (rest: (unit: Unit) => Promise<Answer>) =>
    (client: Queryable, behind: Behind): Promise<Answer> => {
      done = unitOf(app, client, nowMs, behind);
      return rest(done);
    };
  const result = await once(
    app.pool,
    { ...request, nowMs },
    typeof work === 'function'
      ? goOn(work)
      : { begin: (client) => goOn(work.begin(unitOf(app, client, nowMs, tooEarly))) },
  );
  if (!result.replayed && 'answer' in result.outcome) finish(done);
  return result;
}

/** After the COMMIT: streams are woken, and what nobody waits for is begun. */
function finish(unit: Unit | undefined): void {
  if (unit === undefined) return;
  const { app, nowMs } = unit;
  app.live.wake(unit.told);
  for (const work of unit.afterwards) {
    const isTaken = app.background.add(() =>
      transaction(app.pool, (client, behind) => {
        // What may be lost with the process need not wait for the disk.
        gather(client);
        send(client, 'set local synchronous_commit to off').catch(() => undefined);
        return work(unitOf(app, client, nowMs, behind));
      }).catch((error: unknown) => app.log.warn({ error: String(error) }, 'work after the answer failed')),
    );
    if (!isTaken) return;
  }
}

const tooEarly: Behind = () => {
  throw new Error('a request that has only begun has no last writes');
};
