/**
 * What it costs the others to put a VM on a host: the slots that are withdrawn there, each worth its type's share of demand times its
 * size. A place that takes an odd remainder costs nothing; one that breaks the last big slot costs what is asked for big ones.
 */
import type { Amount } from './amount.ts';
import type { DemandedType } from './demand.ts';

/** A demanded type, with what a slot of it is worth. */
export interface ValuedType {
  readonly amount: Amount;
  readonly worth: number;
}

/** More types than these hardly change a cost, and each is computed for each host that changes. */
export const valuedTypesMax = 16;

/** The mean share of a host that an amount is, of the dimensions that the host counts. */
export const shareOf = (amount: Amount, limit: Amount): number => {
  let sum = 0;
  let counted = 0;
  if (Number.isFinite(limit.vcpusMilli) && limit.vcpusMilli > 0) {
    sum += amount.vcpusMilli / limit.vcpusMilli;
    counted++;
  }
  if (Number.isFinite(limit.memoryMib) && limit.memoryMib > 0) {
    sum += amount.memoryMib / limit.memoryMib;
    counted++;
  }
  return counted === 0 ? 0 : sum / counted;
};

export const valuedTypes = (types: readonly DemandedType[], limit: Amount): ValuedType[] =>
  types
    .slice(0, valuedTypesMax)
    .map(({ amount, weight }) => ({ amount, worth: weight * shareOf(amount, limit) }));

/** Written out, since it is the innermost loop: how many of `a` fit when the four parts are free. */
const count = (vcpus: number, memory: number, disk: number, network: number, a: Amount): number => {
  if (vcpus < a.vcpusMilli || memory < a.memoryMib || disk < a.diskMib || network < a.networkMbps) return 0;
  let n = a.vcpusMilli > 0 ? vcpus / a.vcpusMilli : Number.POSITIVE_INFINITY;
  if (a.memoryMib > 0) n = Math.min(n, memory / a.memoryMib);
  if (a.diskMib > 0) n = Math.min(n, disk / a.diskMib);
  if (a.networkMbps > 0) n = Math.min(n, network / a.networkMbps);
  return n === Number.POSITIVE_INFINITY ? 0 : Math.floor(n);
};

/** What the free capacity is worth: for each demanded type, the slots that it would be if it were all that type's. */
export const worthOf = (free: Amount, types: readonly ValuedType[]): number => {
  let value = 0;
  for (const { amount, worth } of types)
    value += worth * count(free.vcpusMilli, free.memoryMib, free.diskMib, free.networkMbps, amount);
  return value;
};

/** What is left of that after `amount` is taken. */
export const worthWithout = (free: Amount, amount: Amount, types: readonly ValuedType[]): number => {
  const vcpus = free.vcpusMilli - amount.vcpusMilli;
  const memory = free.memoryMib - amount.memoryMib;
  const disk = free.diskMib - amount.diskMib;
  const network = free.networkMbps - amount.networkMbps;
  let value = 0;
  for (const { amount: each, worth } of types) value += worth * count(vcpus, memory, disk, network, each);
  return value;
};
