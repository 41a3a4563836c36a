/** Waiting for what a VMM does by itself: it tells of each change, so nobody has to ask again and again. */
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Qmp, QmpEvent } from '../qmp.ts';

/** Asked at least this often: an event is a hint to look, and one may be lost with its connection. */
const lookEveryMs = 50;

/**
 * Looks now, after each event of these names, and now and then besides, until `look` finds something. `DeadlineExceeded` with
 * `complaint` when it has found nothing by `until` (milliseconds of `monotonicMs()`); what `look` throws.
 */
export const whenever = async <T>(
  monitor: Qmp,
  names: readonly string[],
  { until, complaint }: { readonly until: number; readonly complaint: string },
  look: () => Promise<T | undefined>,
): Promise<T> => {
  let stirred = false;
  let wake = (): void => undefined;
  const onEvent = ({ name }: QmpEvent): void => {
    if (!names.includes(name)) return;
    stirred = true;
    wake();
  };
  monitor.on('event', onEvent);
  try {
    for (;;) {
      stirred = false;
      const found = await look();
      if (found !== undefined) return found;
      if (monotonicMs() >= until) throw new PandoError('DeadlineExceeded', complaint);
      if (stirred) continue; // An event that came while we looked may not be in what we saw.
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, lookEveryMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  } finally {
    monitor.off('event', onEvent);
  }
};
