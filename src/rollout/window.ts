/** Time windows of policies: days and times of day, UTC. */
import type { TimeWindow } from '#contracts/rollout-policy.ts';
import { refusal } from './refuse.ts';

const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
const minutesPerDay = 1_440;

/** Minutes since midnight of `HH:MM`. @throws `ValueOutOfRange` for what is no time of day. */
export const minutesOf = (time: string): number => {
  const [, hours, minutes] = /^(\d\d):(\d\d)$/.exec(time) ?? [];
  if (hours === undefined || minutes === undefined || Number(hours) > 24 || Number(minutes) > 59)
    throw refusal('ValueOutOfRange', `${JSON.stringify(time)} is no time of day: HH:MM, UTC.`);
  return Number(hours) * 60 + Number(minutes);
};

/** Whether devices may be changed at this time (milliseconds since 1970). A window over midnight belongs to the day on which it began. */
export const isOpen = (window: TimeWindow | undefined, nowMs: number): boolean => {
  if (window === undefined) return true;
  const now = new Date(nowMs);
  const minute = now.getUTCHours() * 60 + now.getUTCMinutes();
  const [from, to] = [minutesOf(window.from), minutesOf(window.to)];
  const length = (to - from + minutesPerDay) % minutesPerDay || minutesPerDay;
  const since = (minute - from + minutesPerDay) % minutesPerDay;
  if (since >= length) return false;
  const beganOn = days[(now.getUTCDay() + (minute < from ? 6 : 0)) % 7];
  return window.days === undefined || window.days.some((day) => day === beganOn);
};
