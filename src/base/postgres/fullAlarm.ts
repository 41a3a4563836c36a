/** Tells an operator of a store that is full: only an operator can make room. */
import type { Logger } from '../log.ts';
import { monotonicMs } from '../monotonic.ts';
import { sqlStateOf } from './faults.ts';

/** Every request of a full store fails alike: one line in this time says enough. */
export const fullAlarmEveryMs = 60_000;

/** For `onFull` of a store's pool. */
export const fullAlarm = (log: Logger, now = monotonicMs): ((error: unknown) => void) => {
  let loggedMs = Number.NEGATIVE_INFINITY;
  return (error) => {
    if (now() - loggedMs < fullAlarmEveryMs) return;
    loggedMs = now();
    log.error(
      { alarm: 'store-full', err: error, sqlState: sqlStateOf(error) },
      'ALARM: the store cannot keep anything more, so requests are refused. Make room where its data and its write-ahead log lie; it goes on by itself.',
    );
  };
};
