/** What runs by itself: ends what has expired, deletes by time, closes the books of the day. */
import type { App } from './app.ts';
import { keptProof, proveDay } from './ledger/proof.ts';
import { retain } from './location/retention.ts';
import { sweep } from './payments/sweep.ts';
import { transaction } from './store/transaction.ts';

const sweepEveryMs = 1_000;
const retainEveryMs = 60_000;
const proveEveryMs = 15 * 60_000;
const dayMs = 86_400_000;
/** The books of a day close this long after its end: whoever began a payment before midnight has finished by then. */
const proofGraceMs = 10 * 60_000;

/** Starts the loops; the answer stops them and waits for what is running. A failure is logged and tried again next time. */
export function startHousekeeping(app: App): () => Promise<void> {
  const loops = [
    loop(app, 'sweep', sweepEveryMs, () => sweep(app)),
    loop(app, 'retention', retainEveryMs, async () => {
      const { remaining } = await retain(app);
      if (Object.keys(remaining).length > 0)
        app.log.warn({ remaining }, 'more was due for deletion than one run takes');
    }),
    loop(app, 'day proof', proveEveryMs, () => closeBooks(app)),
  ];
  return async () => {
    await Promise.all(loops.map((stop) => stop()));
  };
}

/** Proves the day before, once its grace is over. A day that is proved already costs one look. */
export async function closeBooks(app: App): Promise<void> {
  const nowMs = app.clock();
  const day = new Date(nowMs - proofGraceMs - dayMs).toISOString().slice(0, 10);
  if ((await keptProof(app.pool, day)) !== undefined) return;
  const proof = await transaction(app.pool, (client) => proveDay(client, day, nowMs));
  app.log.info({ day, postings: `${proof.postings}`, digest: proof.digest }, 'the day is proved');
}

function loop(app: App, name: string, everyMs: number, work: () => Promise<unknown>): () => Promise<void> {
  let running: Promise<unknown> = Promise.resolve();
  let isRunning = false;
  const timer = setInterval(() => {
    if (isRunning) return;
    isRunning = true;
    running = work()
      .catch((error: unknown) =>
        app.log.error({ loop: name, error: String(error) }, 'housekeeping failed, tried again later'),
      )
      .finally(() => {
        isRunning = false;
      });
  }, everyMs);
  return async () => {
    clearInterval(timer);
    await running;
  };
}
