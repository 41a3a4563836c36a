/**
 * A rollout as it is stored: everything that must outlive the engine which runs it.
 *
 *   pending → applying ⇄ baking → … (each wave) … → done
 *      │         │          │
 *      │         └──────────┴── the wave has failed ──→ halted ──(resume)→ applying
 *      │                                            └──→ rolling-back → rolled-back
 *      └→ refused (no baseline)            (abort, from anywhere) ──↗
 */
import type { NetworkObject } from '#contracts/network-objects.ts';
import type { PolicySpec } from '#contracts/rollout-policy.ts';

/** One object of a change. `from`: undefined where devices have none yet; `to`: undefined where it is taken away. */
export interface Transition {
  readonly kind: NetworkObject['kind'];
  readonly id: string;
  readonly vpcId?: string | undefined;
  readonly from: NetworkObject | undefined;
  readonly to: NetworkObject | undefined;
}

export type Phase =
  | 'pending'
  | 'applying'
  | 'baking'
  | 'halted'
  | 'rolling-back'
  | 'done'
  | 'rolled-back'
  | 'refused';

export const endedPhases: ReadonlySet<Phase> = new Set(['done', 'rolled-back', 'refused']);

/** Why a rollout stopped going forward. `unhealthy`: measured; `errors`: devices failed; `aborted`: somebody said so. */
export interface Failure {
  readonly kind: 'unhealthy' | 'errors' | 'aborted' | 'no-baseline';
  readonly detail: string;
  readonly atMs: number;
}

export interface RolloutRecord {
  readonly rolloutId: string;
  /** The order of submission: of two that overlap, the lesser goes first. */
  readonly seq: number;
  readonly policyName: string;
  readonly policyVersion: number;
  readonly policy: PolicySpec;
  readonly transitions: readonly Transition[];
  readonly createdBy: string;
  readonly createdMs: number;
  phase: Phase;
  /** From 0. */
  wave: number;
  readonly waveSizes: readonly number[];
  paused: boolean;
  /** Waves that were approved. */
  approved: readonly number[];
  /** Since when the wave has been complete; undefined while devices are being told. */
  settledMs: number | undefined;
  failure: Failure | undefined;
  /** Failures of the present wave that an operator has accepted by resuming. */
  forgiven: number;
  /** What health was before the first device changed. */
  baseline: unknown;
  endedMs: number | undefined;
}

/**
 * Where a device stands. From `commanded` on it may be in the second state, whatever it says, until it is `reverted`.
 * `away`: its turn came and it could not be reached. `refused`: it answered that it did nothing. `drifted`: it has neither the first
 * nor the second. `lost`: it was told, and does not answer. `gone`: it is no device of the fleet any more.
 */
export type DeviceState =
  | 'planned'
  | 'away'
  | 'commanded'
  | 'applied'
  | 'confirmed'
  | 'refused'
  | 'drifted'
  | 'lost'
  | 'reverting'
  | 'reverted'
  | 'gone';

export interface DeviceRecord {
  readonly deviceId: string;
  readonly wave: number;
  /** Within all waves. */
  readonly position: number;
  state: DeviceState;
  /** When it was first commanded, as a number that grows; undefined: never. A rollback goes from the greatest to the least. */
  touched: number | undefined;
  tries: number;
  detail: string | undefined;
  changedMs: number;
}

/** Of one device and one transition of its state, or of what an operator did (`deviceId` undefined). Never changed, never removed. */
export interface AuditRecord {
  readonly atMs: number;
  /** `operator/NAME`, `engine/<name>`. */
  readonly who: string;
  readonly deviceId: string | undefined;
  readonly what: string;
  readonly from: string;
  readonly to: string;
  readonly detail: string | undefined;
}

/** Devices that may be in the second state (I7 counts these, whatever they say). */
export const mayHaveSecond = ({ state, touched }: DeviceRecord): boolean =>
  touched !== undefined && state !== 'reverted';

/** How a command to a device came out. `lost`: no answer, so it may have happened or not. */
export type Outcome =
  | { readonly kind: 'ok' }
  | { readonly kind: 'drift'; readonly detail: string }
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'lapsed'; readonly detail: string }
  | { readonly kind: 'lost'; readonly detail: string };
