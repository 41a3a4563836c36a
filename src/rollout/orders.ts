/** What a rollout asks of its driver, and how patient it is. */
import type { PolicySpec } from '#contracts/rollout-policy.ts';

export type Order =
  | { readonly kind: 'apply' | 'confirm' | 'revert'; readonly deviceId: string }
  /** `baseline`: before anything is changed. */
  | { readonly kind: 'measure'; readonly baseline: boolean };

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

/** Answers that may be lost before a device is. */
export const triesMax = 3;

export const patienceMs = ({ confirmMs }: PolicySpec, { awayMsMin }: RunTiming): number =>
  Math.max(confirmMs, awayMsMin);

export const backoffMs = (tries: number, { backoffMsMin, backoffMsMax }: RunTiming): number =>
  Math.min(backoffMsMax, backoffMsMin * 2 ** tries);
