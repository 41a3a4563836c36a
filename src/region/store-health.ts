/** Whether the region's store answers: what the process says of itself when its health is asked. */

import { sql } from 'kysely';
import { monotonicMs } from '#base/monotonic.ts';
import { urgently } from '#base/postgres/patience.ts';
import type { Database } from './schema.ts';

const probeTimeoutMs = 1_000;
/** An answer is good for this long, so that many who ask cost one query. */
const freshMs = 500;

export type StoreHealth = () => Promise<boolean>;

/** A function that says whether the store took a query just now. It always answers, and soon. */
export const watchStore = (db: Database): StoreHealth => {
  let last = { at: Number.NEGATIVE_INFINITY, ready: false };
  let running: Promise<boolean> | undefined;
  const probe = async (): Promise<boolean> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), probeTimeoutMs);
    });
    const asked = urgently(() => sql`select 1`.execute(db)).then(
      () => true,
      () => false,
    );
    const ready = await Promise.race([asked, late]);
    clearTimeout(timer);
    last = { at: monotonicMs(), ready };
    running = undefined;
    return ready;
  };
  return async () => {
    if (monotonicMs() - last.at < freshMs) return last.ready;
    running ??= probe();
    return running;
  };
};
