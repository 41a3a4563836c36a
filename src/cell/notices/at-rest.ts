/** The queue where nothing is to be done, which is nearly always: that is seen, and time is counted, without the queue's lock. */
import type { CellServices } from '../services.ts';
import { countElapsed, glanceAtQueue } from '../store/capacity-requests.ts';
import type { CellTime } from './cell-time.ts';

/** Whether there was no more to do than to count. What begins to wait after that comes with a hint of its own. */
export const isAtRest = async (
  { db, clock }: Pick<CellServices, 'db' | 'clock'>,
  owner: string,
  time: CellTime,
): Promise<boolean> => {
  const row = await glanceAtQueue(db);
  if (row === undefined || row.waits) return false;
  const tick = time.next(row, clock.monotonicMs());
  if (row.due_ms !== null && row.due_ms <= row.elapsed_ms + (tick?.addMs ?? 0)) return false;
  if (tick !== undefined && (await countElapsed(db, owner, row, tick.addMs))) tick.counted();
  return true;
};
