/** How hard the host was pressed lately, by what the kernel's counters have grown. */
import type { HostPressure } from '#contracts/host.ts';
import { pressureSampleMs, pressureWindowMs, pressureWindowMsMin } from '../limits.ts';
import type { KernelCounters } from './counters.ts';
import type { Portion } from './parse.ts';

/** Undefined: not known, or a counter has begun anew. */
const clampedShare = (part: number, whole: number): number | undefined =>
  part < 0 || whole < 0 ? undefined : whole === 0 ? 0 : Math.min(1, part / whole);

const grown = (before: number | undefined, after: number | undefined, whole: number): number | undefined =>
  before === undefined || after === undefined ? undefined : clampedShare(after - before, whole);

const portion = (before: Portion | undefined, after: Portion | undefined): number | undefined =>
  before === undefined || after === undefined
    ? undefined
    : clampedShare(after.part - before.part, after.whole - before.whole);

const most = (...shares: readonly (number | undefined)[]): number | undefined => {
  const known = shares.filter((each) => each !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
};

/** Both directions have the whole bandwidth: the busier one counts. */
const networkShare = (
  { network: before }: KernelCounters,
  { network: after }: KernelCounters,
  ms: number,
): number | undefined => {
  if (before === undefined || after === undefined) return undefined;
  const bytesMax = (after.mbps * 125_000 * ms) / 1_000;
  return most(grown(before.rxBytes, after.rxBytes, bytesMax), grown(before.txBytes, after.txBytes, bytesMax));
};

/** Pure; undefined: too short a time for the figures to mean anything. */
export const pressureBetween = (before: KernelCounters, after: KernelCounters): HostPressure | undefined => {
  const ms = after.atMs - before.atMs;
  if (ms < pressureWindowMsMin) return undefined;
  const us = ms * 1_000;
  return {
    windowMs: ms,
    stealShare: portion(before.steal, after.steal),
    throttledShare: portion(before.throttling, after.throttling),
    memoryStallShare: most(
      grown(before.memoryStallUs, after.memoryStallUs, us),
      grown(before.groupMemoryStallUs, after.groupMemoryStallUs, us),
    ),
    ioStallShare: grown(before.ioStallUs, after.ioStallUs, us),
    diskBusyShare: grown(before.diskBusyMs, after.diskBusyMs, ms),
    networkShare: networkShare(before, after, ms),
  };
};

export class PressureWindow {
  /** Oldest first: at least `pressureSampleMs` apart, so there are as many as fit into the window, and one. */
  readonly #samples: KernelCounters[] = [];

  /** Takes in the counters of now. */
  look(now: KernelCounters): HostPressure | undefined {
    while ((this.#samples[1]?.atMs ?? Number.POSITIVE_INFINITY) <= now.atMs - pressureWindowMs)
      this.#samples.shift();
    const [oldest] = this.#samples;
    const last = this.#samples.at(-1);
    if (last === undefined || now.atMs - last.atMs >= pressureSampleMs) this.#samples.push(now);
    return oldest === undefined ? undefined : pressureBetween(oldest, now);
  }
}
