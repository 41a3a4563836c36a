/** What a rollout asks of its driver, and how patient it is. */
import type { PolicySpec } from '#contracts/rollout-policy.ts';

/** To one device. */
export interface DeviceOrder {
  readonly kind: 'apply' | 'confirm' | 'revert';
  readonly deviceId: string;
}

export type Order =
  | DeviceOrder
  /** `baseline`: before anything is changed. */
  | { readonly kind: 'measure'; readonly baseline: boolean };

/** What a rollout cannot know by itself. */
export interface World {
  /** For what is measured: no step of a wall clock moves it. */
  readonly nowMs: number;
  /** What people's clocks show, for time windows. */
  readonly wallMs: number;
  reachable(deviceId: string): boolean;
  /** Whether it is still a device of the fleet. */
  exists(deviceId: string): boolean;
  /**
   * `wait`: an earlier rollout has it. `stale`: by now it should have something else than the first state. `owed`: it has not been brought
   * to what it should have, so it is as good as away.
   */
  turn(deviceId: string): 'go' | 'wait' | 'stale' | 'owed';
}

export interface RunTiming {
  /** A device is away when it could not be reached for so long, and for the policy's `confirmMs`. */
  readonly awayMsMin: number;
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
  /** Then a device that answers and will not go back is left to an operator. */
  readonly revertTriesMax: number;
}

export const timingDefault: RunTiming = {
  awayMsMin: 5_000,
  backoffMsMin: 200,
  backoffMsMax: 10_000,
  revertTriesMax: 8,
};

/** Times that what is healthy is asked for before a change, while nobody can say. */
export const baselineTriesMax = 5;

/** Answers that may be lost before a device is. */
export const triesMax = 3;

/** A process that is replaced, watched over and replaced again answers within so much more than its trial, also on a busy host. */
export const restartMs = 30_000;

export const patienceMs = ({ confirmMs }: PolicySpec, { awayMsMin }: RunTiming): number =>
  Math.max(confirmMs, awayMsMin);

export const backoffMs = (tries: number, { backoffMsMin, backoffMsMax }: RunTiming): number =>
  Math.min(backoffMsMax, backoffMsMin * 2 ** tries);
