/** The hours of the week that a client gives a window, as time ranges or as a cron expression, checked by EC2's rules. Pure. */
import { PandoError } from '#contracts/errors.ts';
import { type HourRange, hoursIn, hoursPerWeek, windowRangesMax } from '#contracts/event-windows.ts';

export interface TimeRange {
  readonly StartWeekDay?: string | undefined;
  readonly StartHour?: number | undefined;
  readonly EndWeekDay?: string | undefined;
  readonly EndHour?: number | undefined;
}

const weekDays = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
const hoursPerDay = 24;
/** EC2's: of each range, and of the whole window in a week. */
export const rangeHoursMin = 2;
export const windowHoursMin = 4;
const cronCharsMax = 256;
const shownCharsMax = 64;

const invalid = (name: string, value: string, expected: string): PandoError =>
  new PandoError(
    'InvalidParameterValue',
    `Value (${value.slice(0, shownCharsMax)}) for parameter ${name} is invalid. ${expected}`,
  );

const checkTotal = (name: string, shown: string, ranges: readonly HourRange[]): readonly HourRange[] => {
  const short = ranges.find(({ from, to }) => to - from < rangeHoursMin);
  if (short !== undefined) throw invalid(name, shown, `Each range must be ${rangeHoursMin} hours or longer.`);
  const hours = hoursIn(ranges).size;
  if (hours < windowHoursMin)
    throw invalid(
      name,
      shown,
      `A window must have ${windowHoursMin} hours or more in a week; this one has ${hours}.`,
    );
  return ranges;
};

const hourOfWeek = (day: string | undefined, hour: number | undefined, at: 'Start' | 'End'): number => {
  if (day === undefined || hour === undefined)
    throw new PandoError(
      'MissingParameter',
      `A time range must contain ${at}WeekDay and ${at}Hour, like the others of StartWeekDay, StartHour, EndWeekDay, EndHour.`,
    );
  const index = weekDays.indexOf(day);
  if (index < 0) throw invalid(`${at}WeekDay`, day, `Expecting one of ${weekDays.join(', ')}.`);
  if (!Number.isInteger(hour) || hour < 0 || hour >= hoursPerDay)
    throw invalid(`${at}Hour`, String(hour), `Expecting 0 to ${hoursPerDay - 1}.`);
  return index * hoursPerDay + hour;
};

/** A range whose end is before its start goes over the end of the week. @throws InvalidParameterValue, MissingParameter */
export const hoursOfRanges = (ranges: readonly TimeRange[]): readonly HourRange[] => {
  if (ranges.length > windowRangesMax)
    throw invalid('TimeRange', `${ranges.length} ranges`, `A window has ${windowRangesMax} at most.`);
  const hours = ranges.map(({ StartWeekDay, StartHour, EndWeekDay, EndHour }): HourRange => {
    const from = hourOfWeek(StartWeekDay, StartHour, 'Start');
    const end = hourOfWeek(EndWeekDay, EndHour, 'End');
    return { from, to: end >= from ? end : end + hoursPerWeek };
  });
  const shown = ranges
    .map(({ StartWeekDay: a, StartHour: b, EndWeekDay: c, EndHour: d }) => `${a} ${b} - ${c} ${d}`)
    .join(', ');
  return checkTotal('TimeRange', shown, hours);
};

const cronDays = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

const numbered = (text: string, max: number): number | undefined => {
  if (!/^\d{1,2}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
};

const dayNumber = (text: string): number | undefined => {
  const named = cronDays.indexOf(text.toUpperCase());
  return named < 0 ? numbered(text, cronDays.length - 1) : named;
};

/** `1`, `1,5`, `1-5`, `SUN,SAT`, `*`. Undefined: it is none of these. */
const daysOf = (text: string): readonly number[] | undefined => {
  if (text === '*') return cronDays.map((_, day) => day);
  const days = new Set<number>();
  for (const part of text.split(',')) {
    const [first = '', last = first, ...more] = part.split('-');
    const [from, to] = [dayNumber(first), dayNumber(last)];
    if (from === undefined || to === undefined || from > to || more.length > 0) return undefined;
    for (let day = from; day <= to; day++) days.add(day);
  }
  return [...days];
};

/** `0-4`, `0-4,20-23`: from an hour up to an hour. Undefined: it is none of these. */
const hourRangesOf = (text: string): readonly HourRange[] | undefined => {
  const ranges = text.split(',').map((part) => {
    const [first = '', last = '', ...more] = part.split('-');
    const [from, to] = [numbered(first, hoursPerDay - 1), numbered(last, hoursPerDay - 1)];
    return from === undefined || to === undefined || from >= to || more.length > 0 ? undefined : { from, to };
  });
  return ranges.every((range) => range !== undefined) ? ranges : undefined;
};

/**
 * Minute, day of the month and month are `*`; hours are ranges, days of the week are listed.
 *
 * @throws InvalidParameterValue
 */
export const hoursOfCron = (expression: string): readonly HourRange[] => {
  const refuse = (expected: string): PandoError => invalid('CronExpression', expression, expected);
  const fields = expression.length > cronCharsMax ? [] : expression.split(' ');
  const [minute, hour = '', day, month, weekDay = ''] = fields;
  if (fields.length !== 5)
    throw refuse("Expecting five fields with one blank between, for example '* 0-4,20-23 * * 1,5'.");
  if ([minute, day, month].some((field) => field !== '*'))
    throw refuse('Minute, day of the month and month must be *: hours and days of the week alone are given.');
  const ranges = hourRangesOf(hour);
  if (ranges === undefined)
    throw refuse('The hours must be ranges from 0 to 23, for example 0-4 or 0-4,20-23.');
  const days = daysOf(weekDay);
  if (days === undefined) throw refuse('The days of the week must be 0 to 6, or SUN to SAT.');
  const hours = days.flatMap((index) =>
    ranges.map(({ from, to }) => ({ from: index * hoursPerDay + from, to: index * hoursPerDay + to })),
  );
  if (hours.length > windowRangesMax)
    throw refuse(`A window has ${windowRangesMax} ranges at most; this one has ${hours.length}.`);
  return checkTotal('CronExpression', expression, hours);
};
