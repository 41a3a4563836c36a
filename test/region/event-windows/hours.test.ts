/** Time ranges and cron expressions as EC2 has them, read into hours of the week; what breaks its rules is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hoursIn } from '#contracts/event-windows.ts';
import { hoursOfCron, hoursOfRanges, rangeHoursMin, windowHoursMin } from '#region/event-windows/hours.ts';

const range = (StartWeekDay: string, StartHour: number, EndWeekDay: string, EndHour: number) => ({
  ...{ StartWeekDay, StartHour, EndWeekDay, EndHour },
});
const refused = (work: () => unknown, message: RegExp, code = 'InvalidParameterValue'): void => {
  assert.throws(work, { code, message });
};

test('ranges go from an hour of a day up to another, and over the end of the week', () => {
  assert.deepEqual(hoursOfRanges([range('monday', 2, 'wednesday', 8)]), [{ from: 26, to: 80 }]);
  assert.deepEqual(hoursOfRanges([range('saturday', 22, 'sunday', 2)]), [{ from: 166, to: 170 }]);
  assert.deepEqual(
    [...hoursIn(hoursOfRanges([range('saturday', 22, 'sunday', 2)]))].sort((a, b) => a - b),
    [0, 1, 166, 167],
  );
});

test('a range of less than two hours, and a window of less than four, are refused', () => {
  refused(() => hoursOfRanges([range('monday', 2, 'monday', 3)]), /2 hours or longer/);
  refused(() => hoursOfRanges([range('monday', 2, 'monday', 2)]), /2 hours or longer/);
  refused(
    () => hoursOfRanges([range('monday', 2, 'monday', 5)]),
    /4 hours or more in a week; this one has 3/,
  );
  // Hours that two ranges share count once.
  refused(
    () => hoursOfRanges([range('monday', 2, 'monday', 5), range('monday', 3, 'monday', 5)]),
    /this one has 3/,
  );
  assert.equal(hoursOfRanges([range('monday', 2, 'monday', 4), range('friday', 2, 'friday', 4)]).length, 2);
});

test('what a range lacks, or cannot be, is told', () => {
  refused(
    () => hoursOfRanges([{ StartWeekDay: 'monday', StartHour: 1, EndWeekDay: 'monday' }]),
    /EndHour/,
    'MissingParameter',
  );
  refused(() => hoursOfRanges([range('monday', 24, 'tuesday', 4)]), /StartHour/);
  refused(() => hoursOfRanges([range('Montag', 2, 'tuesday', 4)]), /StartWeekDay/);
  refused(() => hoursOfRanges(Array.from({ length: 85 }, () => range('monday', 2, 'monday', 8))), /84/);
});

test('cron expressions give hours on days of the week', () => {
  const hours = hoursOfCron('* 0-4,20-23 * * 1,5');
  assert.deepEqual(hours, [
    { from: 24, to: 28 },
    { from: 44, to: 47 },
    { from: 120, to: 124 },
    { from: 140, to: 143 },
  ]);
  assert.deepEqual(hoursOfCron('* 0-4 * * MON'), [{ from: 24, to: 28 }]);
  assert.equal(hoursOfCron('* 0-4 * * *').length, 7);
  assert.equal(hoursOfCron('* 0-4 * * 1-5').length, 5);
});

test('cron expressions that EC2 does not take are refused', () => {
  for (const [expression, message] of [
    ['0 0-4 * * 1', /must be \*/],
    ['* 0-4 1 * 1', /must be \*/],
    ['* 0-4 * 6 1', /must be \*/],
    ['* 4 * * 1', /ranges from 0 to 23/],
    ['* * * * 1', /ranges from 0 to 23/],
    ['* 4-0 * * 1', /ranges from 0 to 23/],
    ['* 0-24 * * 1', /ranges from 0 to 23/],
    ['* 0-1,4-8 * * 1', /2 hours or longer/],
    ['* 0-3 * * 1', /4 hours or more/],
    ['* 0-4 * * 7', /0 to 6/],
    ['* 0-4 * * 5-1', /0 to 6/],
    ['* 0-4 * *', /five fields/],
    ['* 0-4 * * 1 2026', /five fields/],
    ['', /five fields/],
    [`* ${'0-4,'.repeat(100)}0-4 * * 1`, /five fields/],
    ['* 0-2,2-4,4-6,6-8,8-10,10-12,12-14,14-16,16-18,18-20,20-22,20-23,0-3 * * *', /84 ranges at most/],
  ] as const)
    refused(() => hoursOfCron(expression), message);
});

test('whatever is written, it is refused or has the hours that EC2 asks for', () => {
  const field = fc.string({ unit: fc.constantFrom(...'*0123456789,-SUNMO '), maxLength: 24 });
  fc.assert(
    fc.property(field, (text) => {
      let hours: ReturnType<typeof hoursOfCron>;
      try {
        hours = hoursOfCron(`* ${text}`);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'InvalidParameterValue');
        return;
      }
      assert.ok(hoursIn(hours).size >= windowHoursMin);
      assert.ok(hours.every(({ from, to }) => to - from >= rangeHoursMin && from >= 0 && from < 168));
    }),
    { numRuns: 3_000 },
  );
});
