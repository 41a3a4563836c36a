import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CellTime, type TimeRow } from '#cell/notices/cell-time.ts';

const row = (ticks: number, ticker: string): TimeRow => ({ ticks, ticker, elapsed_ms: 0 });

test('one counts what has passed since it looked last', () => {
  const time = new CellTime('a');
  assert.equal(time.next(row(0, ''), 1_000), undefined);
  const tick = time.next(row(0, ''), 2_000);
  assert.equal(tick?.addMs, 1_000);
  tick?.counted();
  assert.equal(time.next(row(1, 'a'), 2_500)?.addMs, 500);
});

test('another counts only when the one that did is silent', () => {
  const time = new CellTime('b');
  time.next(row(0, 'a'), 0);
  assert.equal(time.next(row(0, 'a'), 2_900), undefined);
  assert.ok(time.next(row(0, 'a'), 3_100));
});

test('who stood still does not count all of it at once: an offer made meanwhile would lapse early', () => {
  for (const ticker of ['a', 'b'])
    for (const stoodMs of [3_100, 60_000, 3_600_000]) {
      const time = new CellTime('a');
      time.next(row(0, ticker), 0);
      assert.equal(time.next(row(0, ticker), stoodMs)?.addMs, 2_000);
    }
});
