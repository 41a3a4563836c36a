/** Rollouts made by hand, for tests of the pure room. */
import type { NetworkObject } from '#contracts/network-objects.ts';
import { type PolicySpec, policySpec } from '#contracts/rollout-policy.ts';
import type { DeviceRecord, RolloutRecord } from '#rollout/record.ts';

export const random = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

export const policyOf = (spec: Partial<PolicySpec> & Pick<PolicySpec, 'waves'>): PolicySpec =>
  policySpec.parse({ bakeMs: 1_000, confirmMs: 2_000, ...spec });

/** A version of the fleet's object, whose digest is a number that people can read. */
export const version = (number: number): NetworkObject => ({
  ...{ kind: 'fleet', id: 'fleet', version: number },
  ...{ digest: number.toString(16).padStart(32, '0'), body: {} },
});

export interface Made {
  readonly record: RolloutRecord;
  readonly devices: readonly DeviceRecord[];
}

/** From version 1 to version 2 unless told otherwise. */
export const rolloutOf = (
  policy: PolicySpec,
  waves: readonly (readonly string[])[],
  { seq = 1, from = 1, to = 2 }: { seq?: number; from?: number; to?: number } = {},
): Made => {
  let position = 0;
  const devices = waves.flatMap((ids, wave) =>
    ids.map(
      (deviceId): DeviceRecord => ({
        ...{ deviceId, wave, position: position++, state: 'planned', touched: undefined },
        ...{ tries: 0, detail: undefined, changedMs: 0 },
      }),
    ),
  );
  const record: RolloutRecord = {
    ...{ rolloutId: `ro-${seq}`, seq, policyName: 'p', policyVersion: 1, policy },
    transitions: [{ kind: 'fleet', id: 'fleet', from: version(from), to: version(to) }],
    ...{ createdBy: 'operator/test', createdMs: 0, phase: 'pending', wave: 0 },
    waveSizes: waves.map(({ length }) => length),
    ...{ paused: false, approved: [], settledMs: undefined, failure: undefined, forgiven: 0 },
    ...{ baseline: undefined, endedMs: undefined },
  };
  return { record, devices };
};
