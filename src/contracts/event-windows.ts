/**
 * Event windows: the hours of the week in which an account lets its instances be moved or stopped by its cloud. All times are UTC. The
 * region keeps them; a cell asks which hours an instance has. Pure.
 */
import { z } from 'zod';

export const hoursPerWeek = 168;
const hourMs = 3_600_000;
const weekMs = hoursPerWeek * hourMs;
/** Sunday 4 January 1970, 00:00 UTC: weeks are counted from here. */
const firstSundayMs = 3 * 24 * hourMs;

/** Hours since Sunday, 00:00 UTC: from `from` on, up to `to`, which is not in it. One that goes over the end of the week ends above 168. */
export const hourRange = z.object({
  from: z
    .number()
    .int()
    .min(0)
    .max(hoursPerWeek - 1),
  to: z
    .number()
    .int()
    .min(1)
    .max(2 * hoursPerWeek),
});
export type HourRange = z.infer<typeof hourRange>;

/** Instances in one question about their windows. */
export const windowedInstancesMax = 100;
/** Ranges of one window: no two of two hours each need touch. */
export const windowRangesMax = 84;

/** What a window goes by: an instance's own id, its tags, its dedicated host. */
export const windowedInstance = z.object({
  instanceId: z.string(),
  accountId: z.string(),
  tags: z.array(z.object({ Key: z.string(), Value: z.string() })).max(64),
  dedicatedHostId: z.string().optional(),
});
export type WindowedInstance = z.infer<typeof windowedInstance>;

/** An instance with the hours of a window that it is in. */
export const instanceWindow = z.object({
  instanceId: z.string(),
  windowId: z.string(),
  hours: z.array(hourRange).max(windowRangesMax),
});
export type InstanceWindow = z.infer<typeof instanceWindow>;

/** Milliseconds since the last Sunday, 00:00 UTC. */
const intoWeekMs = (atMs: number): number => (((atMs - firstSundayMs) % weekMs) + weekMs) % weekMs;

/** How long until a range is entered; 0: it is open. */
const untilOpenMs = ({ from, to }: HourRange, atMs: number): number => {
  const now = intoWeekMs(atMs);
  const [begin, end] = [from * hourMs, to * hourMs];
  if ((now >= begin && now < end) || now + weekMs < end) return 0;
  return begin > now ? begin - now : begin + weekMs - now;
};

/** When one of these ranges is open: `atMs` itself if one is now. Undefined: there are none. */
export const nextOpeningMs = (hours: readonly HourRange[], atMs: number): number | undefined =>
  hours.length === 0 ? undefined : atMs + Math.min(...hours.map((range) => untilOpenMs(range, atMs)));

export const isOpen = (hours: readonly HourRange[], atMs: number): boolean =>
  nextOpeningMs(hours, atMs) === atMs;

/** Every hour of the week that is in one of these ranges, once. */
export const hoursIn = (ranges: readonly HourRange[]): ReadonlySet<number> =>
  new Set(
    ranges.flatMap(({ from, to }) =>
      Array.from({ length: to - from }, (_, hour) => (from + hour) % hoursPerWeek),
    ),
  );

/** When the hours that are open at `atMs` end: the first hour after it that is in no range, a week later at most. */
export const closingMs = (hours: readonly HourRange[], atMs: number): number => {
  const open = hoursIn(hours);
  const first = Math.floor(intoWeekMs(atMs) / hourMs);
  const startMs = atMs - (intoWeekMs(atMs) % hourMs);
  for (let after = 0; after < hoursPerWeek; after++)
    if (!open.has((first + after) % hoursPerWeek)) return Math.max(atMs, startMs + after * hourMs);
  return atMs + weekMs;
};
