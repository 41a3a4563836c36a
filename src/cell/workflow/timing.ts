/** The engine's pauses, as one value: tests run them faster. */
import * as limits from '../limits.ts';

export interface EngineTiming {
  readonly duePollMs: number;
  readonly retryInMemoryMs: number;
  readonly parkMsMin: number;
  readonly parkMsMax: number;
  readonly busyWaitMs: number;
  readonly storeRetryMsMin: number;
  readonly storeRetryMsMax: number;
}

export const engineTiming: EngineTiming = {
  duePollMs: limits.duePollMs,
  retryInMemoryMs: limits.retryInMemoryMs,
  parkMsMin: limits.parkMsMin,
  parkMsMax: limits.parkMsMax,
  busyWaitMs: limits.busyWaitMs,
  storeRetryMsMin: limits.storeRetryMsMin,
  storeRetryMsMax: limits.storeRetryMsMax,
};

/** A pause, a quarter more or less, so that many who wait for the same thing do not come at once. */
export const jittered = (ms: number): number => ms * (0.75 + Math.random() / 2);

/** The pause before a workflow that was parked `parks` times in a row is tried again. */
export const parkPauseMs = (parks: number, { parkMsMin, parkMsMax }: EngineTiming): number =>
  jittered(Math.min(parkMsMax, parkMsMin * 2 ** Math.min(parks, 16)));
