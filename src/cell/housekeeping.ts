/** The cell's rhythms: lease, take-over, who was heard, what is behind, what is old. One loop each, never two turns at once. */
import type { Logger } from '#base/log.ts';
import type { Clock } from './clock.ts';

export interface Rhythm {
  readonly name: string;
  readonly everyMs: number;
  turn(): Promise<unknown>;
}

/** Runs each rhythm until `stop`; a turn that fails is logged once until it succeeds again, and the next turn comes as always. */
export const startRhythms = (
  rhythms: readonly Rhythm[],
  clock: Clock,
  log: Logger,
  stop: AbortSignal,
): void => {
  for (const rhythm of rhythms) void runRhythm(rhythm, clock, log, stop);
};

const runRhythm = async (rhythm: Rhythm, clock: Clock, log: Logger, stop: AbortSignal): Promise<void> => {
  let failing = false;
  while (!stop.aborted) {
    try {
      await rhythm.turn();
      if (failing) log.info({ rhythm: rhythm.name }, 'works again');
      failing = false;
    } catch (error) {
      if (!failing && !stop.aborted)
        log.warn({ rhythm: rhythm.name, err: error }, 'failed: it is tried again');
      failing = true;
    }
    await clock.sleep(rhythm.everyMs, stop);
  }
};
