/** Counters of the kernel that say how hard a host is pressed, out of the files that it tells them in. Pure. */

/** A part of a whole that both only grow. */
export interface Portion {
  readonly part: number;
  readonly whole: number;
}

/**
 * Of `/proc/stat`: time that whoever runs this machine gave to others, of all time. The columns are user, nice, system, idle, iowait,
 * irq, softirq, steal; those of guests that follow are in user and nice already.
 */
export const parseSteal = (stat: string): Portion | undefined => {
  const line = /^cpu (.*)$/m.exec(stat)?.[1];
  const ticks = line?.trim().split(/\s+/).slice(0, 8).map(Number) ?? [];
  const part = ticks[7];
  if (part === undefined || !ticks.every(Number.isFinite)) return undefined;
  return { part, whole: ticks.reduce((sum, each) => sum + each, 0) };
};

/** Of a file of pressure stall information: microseconds in which somebody waited. Undefined: the kernel keeps none. */
export const parsePressure = (text: string | undefined): number | undefined => {
  const total = /^some .*\btotal=(\d+)/m.exec(text ?? '')?.[1];
  return total === undefined ? undefined : Number(total);
};

/** Of a block device's file `stat`: milliseconds in which it had something to do, the tenth figure. */
export const parseDiskBusyMs = (text: string | undefined): number | undefined => {
  const busy = Number(text?.trim().split(/\s+/)[9]);
  return Number.isFinite(busy) ? busy : undefined;
};

/** Of a control group's `cpu.stat`; nothing where it has no quota, or is not there. */
export const parseThrottling = (
  text: string | undefined,
): { readonly periods: number; readonly throttledPeriods: number } => {
  const figure = (name: RegExp): number => Number(name.exec(text ?? '')?.[1] ?? 0);
  return { periods: figure(/^nr_periods (\d+)$/m), throttledPeriods: figure(/^nr_throttled (\d+)$/m) };
};
