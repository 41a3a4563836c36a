/** Propagation policies (S8.1): how a change spreads over the devices. A client's own versioned objects, stored apart from any change. */
import { z } from 'zod';

const millisecondsMax = 7 * 86_400_000;

/** One wave: exactly one member says which devices it takes. Checked by `#rollout/policy.ts`, which names what is wrong. */
export const waveSpec = z.strictObject({
  /** By id, `card/198.18.1.11`. */
  devices: z.array(z.string().max(128)).max(10_000).optional(),
  /** Of the whole fleet, rounded up, out of those that no earlier wave takes. */
  percent: z.number().optional(),
  cells: z.array(z.string().max(128)).max(1_000).optional(),
  zones: z.array(z.string().max(128)).max(1_000).optional(),
  /** The cell that the policy's `canaryCell` names; without one, the first by name. */
  canaryCell: z.literal(true).optional(),
  /** All that are left. */
  rest: z.literal(true).optional(),
});
export type WaveSpec = z.infer<typeof waveSpec>;

/** What is measured: probes between cards through the overlay, the metadata service, TCP with full segments, the card's own counters. */
export const healthCheck = z.enum(['overlay', 'metadata', 'tcp', 'control', 'counters']);
export type HealthCheck = z.infer<typeof healthCheck>;

export const healthSpec = z.strictObject({
  checks: z.array(healthCheck).max(8),
  /** Loss above the baseline's, as a fraction, that is still healthy. */
  lossMax: z.number().default(0.02),
  /** A latency above `baseline × this + 20 ms` is unhealthy. */
  latencyFactorMax: z.number().default(5),
  /** Unhealthy measurements in a row before the wave has failed. */
  strikes: z.number().int().default(2),
  everyMs: z.number().int().default(2_000),
});
export type HealthSpec = z.infer<typeof healthSpec>;

/** `from` and `to` as `HH:MM` UTC; `to` before `from`: over midnight. Days by their first three letters; absent: each. */
export const timeWindow = z.strictObject({
  days: z.array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])).optional(),
  from: z.string().max(5),
  to: z.string().max(5),
});
export type TimeWindow = z.infer<typeof timeWindow>;

export const approvalSpec = z.strictObject({
  /** Before the first wave, before the second (the canary has shown what it does), or before each. */
  before: z.enum(['first', 'second', 'each']),
  /** Who may approve: names of operators or ids of accounts. */
  by: z.array(z.string().max(128)).max(100),
});

export const policySpec = z.strictObject({
  waves: z.array(waveSpec).max(64),
  canaryCell: z.string().max(128).optional(),
  /** Of the devices within a wave. `spread`: one cell after the other in turn. */
  order: z.enum(['as-listed', 'by-name', 'spread']).default('by-name'),
  /** Devices that are being told at the same time. */
  concurrency: z.number().int().default(16),
  /** How long a wave must stay healthy before the next. */
  bakeMs: z.number().int().max(millisecondsMax).default(60_000),
  health: healthSpec.default({ checks: [], lossMax: 0.02, latencyFactorMax: 5, strikes: 2, everyMs: 2_000 }),
  /** The fraction of a wave's devices that may fail. */
  errorThreshold: z.number().default(0),
  onFailure: z.enum(['halt', 'roll-back', 'go-on']).default('roll-back'),
  /** What a device is that cannot be reached when its turn comes: it counts as failed, or is told when it returns. */
  unreachable: z.enum(['fail', 'skip']).default('skip'),
  /** A device that hears nothing for so long after it applied goes back by itself (S8.4). */
  confirmMs: z.number().int().max(3_600_000).default(10_000),
  window: timeWindow.optional(),
  approval: approvalSpec.optional(),
});
export type PolicySpec = z.infer<typeof policySpec>;

/** 1 to 64 of letters, digits, `.`, `_`, `-`. */
export const policyName = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/);

/** A policy as it is stored: a change names one version of it, and later versions change nothing for it. */
export const policyVersion = z.object({
  name: z.string(),
  version: z.number().int().min(1),
  spec: policySpec,
  createdBy: z.string(),
  createdAt: z.string(),
});
export type PolicyVersion = z.infer<typeof policyVersion>;

/** Classes of changes, each with a policy of its own for who names none. */
export const changeClass = z.enum(['urgent', 'fleet', 'program']);
export type ChangeClass = z.infer<typeof changeClass>;
