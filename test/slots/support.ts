/** Amounts, types and hosts for tests of slots. */
import type { Amount } from '#slots/amount.ts';
import type { DemandedType } from '#slots/demand.ts';
import type { HostFacts } from '#slots/slot-map.ts';

export const amount = (vcpusMilli: number, memoryMib: number, diskMib = 0, networkMbps = 0): Amount => ({
  vcpusMilli,
  memoryMib,
  diskMib,
  networkMbps,
});

export const demanded = (type: string, size: Amount, weight: number): DemandedType => ({
  type,
  amount: size,
  weight,
});

export const host = (hostId: string, more: Partial<HostFacts> = {}): HostFacts => ({
  hostId,
  limit: amount(8_000, 8_192, 100_000, Number.POSITIVE_INFINITY),
  used: amount(0, 0),
  realVcpusMilli: 8_000,
  open: true,
  hostClass: 'sim',
  capabilities: new Set(['sim']),
  running: new Map(),
  ...more,
});

/** A generator that gives the same numbers for the same seed, 0 ≤ n < 1. */
export const seeded = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
};
