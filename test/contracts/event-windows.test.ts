/** The hours of a week: when a window is open, opens next and closes, against a count hour by hour. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  closingMs,
  type HourRange,
  hoursIn,
  hoursPerWeek,
  isOpen,
  nextOpeningMs,
} from '#contracts/event-windows.ts';

const hourMs = 3_600_000;
const ranges = fc.array(
  fc
    .tuple(fc.integer({ min: 0, max: hoursPerWeek - 1 }), fc.integer({ min: 2, max: hoursPerWeek }))
    .map(([from, length]): HourRange => ({ from, to: from + length })),
  { minLength: 1, maxLength: 6 },
);
const instants = fc.integer({ min: 0, max: 4_000_000_000_000 });

/** Another way to the same: the calendar's own day and hour. */
const hourOfWeek = (atMs: number): number => {
  const date = new Date(atMs);
  return date.getUTCDay() * 24 + date.getUTCHours();
};

test('a window is open in the hours of its ranges, by the calendar, also over the end of the week', () => {
  fc.assert(
    fc.property(ranges, instants, (hours, atMs) => {
      assert.equal(isOpen(hours, atMs), hoursIn(hours).has(hourOfWeek(atMs)));
    }),
    { numRuns: 2_000 },
  );
});

test('it opens next at the first full hour that is in it, and closes at the first that is not', () => {
  fc.assert(
    fc.property(ranges, instants, (hours, atMs) => {
      const open = hoursIn(hours);
      const fullHour = (after: number): number => Math.floor(atMs / hourMs) * hourMs + after * hourMs;
      let next = atMs;
      for (let hour = 1; !open.has(hourOfWeek(next)); hour++) next = fullHour(hour);
      assert.equal(nextOpeningMs(hours, atMs), next);
      if (open.size === hoursPerWeek) return;
      let end = next;
      for (let hour = 1; open.has(hourOfWeek(end)); hour++)
        end = Math.floor(next / hourMs) * hourMs + hour * hourMs;
      assert.equal(closingMs(hours, next), end);
    }),
    { numRuns: 1_000 },
  );
});

test('a window without hours never opens', () => {
  assert.equal(nextOpeningMs([], 0), undefined);
  assert.equal(isOpen([], 0), false);
});
