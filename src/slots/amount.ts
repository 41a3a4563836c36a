/** The vector of S4.1: what a VM takes of a host, and what a host has. */
export interface Amount {
  /** Thousandths of a vCPU. */
  readonly vcpusMilli: number;
  readonly memoryMib: number;
  readonly diskMib: number;
  readonly networkMbps: number;
}

/** The four dimensions, by the names that people read. */
export const dimensions = {
  vcpusMilli: 'vCPU',
  memoryMib: 'memory',
  diskMib: 'disk',
  networkMbps: 'network',
} as const satisfies Record<keyof Amount, string>;
export type Dimension = keyof Amount;
export const dimensionNames: readonly Dimension[] = ['vcpusMilli', 'memoryMib', 'diskMib', 'networkMbps'];

export const nothing: Amount = { vcpusMilli: 0, memoryMib: 0, diskMib: 0, networkMbps: 0 };

/** `a + times × b`. */
export const plus = (a: Amount, b: Amount, times = 1): Amount => ({
  vcpusMilli: a.vcpusMilli + times * b.vcpusMilli,
  memoryMib: a.memoryMib + times * b.memoryMib,
  diskMib: a.diskMib + times * b.diskMib,
  networkMbps: a.networkMbps + times * b.networkMbps,
});

export const minus = (a: Amount, b: Amount, times = 1): Amount => plus(a, b, -times);

/** Whether `amount` fits into `free`; what is not asked for need not fit. */
export const fits = (free: Amount, amount: Amount): boolean =>
  (amount.vcpusMilli <= 0 || amount.vcpusMilli <= free.vcpusMilli) &&
  (amount.memoryMib <= 0 || amount.memoryMib <= free.memoryMib) &&
  (amount.diskMib <= 0 || amount.diskMib <= free.diskMib) &&
  (amount.networkMbps <= 0 || amount.networkMbps <= free.networkMbps);

const times = (free: number, amount: number): number =>
  amount <= 0 ? Number.POSITIVE_INFINITY : free <= 0 ? 0 : Math.floor(free / amount);

/** How many of `amount` fit into `free` at once; 0 for an amount that asks for nothing. */
export const countOf = (free: Amount, amount: Amount): number => {
  const n = Math.min(
    times(free.vcpusMilli, amount.vcpusMilli),
    times(free.memoryMib, amount.memoryMib),
    times(free.diskMib, amount.diskMib),
    times(free.networkMbps, amount.networkMbps),
  );
  return Number.isFinite(n) ? n : 0;
};

/** No part below nothing: a host that promised more than it now has shows no room, and not a debt. */
export const clamped = (amount: Amount): Amount => ({
  vcpusMilli: Math.max(0, amount.vcpusMilli),
  memoryMib: Math.max(0, amount.memoryMib),
  diskMib: Math.max(0, amount.diskMib),
  networkMbps: Math.max(0, amount.networkMbps),
});

export const equal = (a: Amount, b: Amount): boolean =>
  dimensionNames.every((dimension) => a[dimension] === b[dimension]);
