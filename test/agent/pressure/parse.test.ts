/** Counters out of the kernel's files, and what they have grown in a window. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KernelCounters } from '#agent/pressure/counters.ts';
import { parseDiskBusyMs, parsePressure, parseSteal, parseThrottling } from '#agent/pressure/parse.ts';
import { PressureWindow, pressureBetween } from '#agent/pressure/window.ts';

test('/proc/stat: stolen time of all time, without the guests’ that is in user already', () => {
  const stat = `cpu  100 1 50 800 20 0 4 25 90 9
cpu0 50 0 25 400 10 0 2 12 45 4
intr 1
`;
  assert.deepEqual(parseSteal(stat), { part: 25, whole: 1_000 });
  assert.equal(parseSteal('cpu  1 2 3'), undefined, 'a kernel without that column');
  assert.equal(parseSteal(''), undefined);
});

test('pressure stall information, a block device’s busy time, a group’s throttled periods', () => {
  const pressure = `some avg10=1.53 avg60=0.87 avg300=0.29 total=123456
full avg10=0.00 avg60=0.00 avg300=0.00 total=99
`;
  assert.equal(parsePressure(pressure), 123_456);
  assert.equal(parsePressure(undefined), undefined);
  assert.equal(parsePressure(''), undefined);
  const disk =
    ' 1290560 100505 25282650 12367339 5824071 2819636 344204728 4641326 0 1225304 17957296 3009979 0 0 0 1 2\n';
  assert.equal(parseDiskBusyMs(disk), 1_225_304);
  assert.equal(parseDiskBusyMs(undefined), undefined);
  const v1 = 'nr_periods 40\nnr_throttled 10\nthrottled_time 5000\n';
  const v2 = 'usage_usec 1\nuser_usec 1\nsystem_usec 0\nnr_periods 40\nnr_throttled 10\nthrottled_usec 5\n';
  for (const text of [v1, v2]) assert.deepEqual(parseThrottling(text), { periods: 40, throttledPeriods: 10 });
  assert.deepEqual(parseThrottling(undefined), { periods: 0, throttledPeriods: 0 });
});

const at = (atMs: number, more: Partial<KernelCounters> = {}): KernelCounters => ({ atMs, ...more });

test('shares of the window; what began anew or is not known is absent, and never above the whole', () => {
  const before = at(0, {
    steal: { part: 10, whole: 100 },
    throttling: { part: 0, whole: 0 },
    memoryStallUs: 0,
    groupMemoryStallUs: 0,
    ioStallUs: 1_000_000,
    diskBusyMs: 500,
    network: { rxBytes: 0, txBytes: 1_000, mbps: 8 },
  });
  const after = at(10_000, {
    steal: { part: 30, whole: 200 },
    throttling: { part: 0, whole: 0 },
    memoryStallUs: 1_000_000,
    groupMemoryStallUs: 4_000_000,
    ioStallUs: 0,
    diskBusyMs: 20_500,
    network: { rxBytes: 2_500_000, txBytes: 5_001_000, mbps: 8 },
  });
  assert.deepEqual(pressureBetween(before, after), {
    windowMs: 10_000,
    stealShare: 0.2,
    throttledShare: 0,
    memoryStallShare: 0.4,
    ioStallShare: undefined,
    diskBusyShare: 1,
    networkShare: 0.5,
  });
  assert.equal(pressureBetween(before, at(500)), undefined, 'too short to mean anything');
  assert.deepEqual(
    Object.entries(pressureBetween(at(0), at(10_000)) ?? {}).filter(([, value]) => value !== undefined),
    [['windowMs', 10_000]],
  );
});

test('the window is ten seconds, however often it is looked at', () => {
  const window = new PressureWindow();
  const diskBusy = (ms: number): number => Math.max(0, ms - 60_000);
  let shown: ReturnType<PressureWindow['look']>;
  for (let ms = 0; ms <= 63_000; ms += 100) shown = window.look(at(ms, { diskBusyMs: diskBusy(ms) }));
  assert.ok(shown !== undefined && shown.windowMs >= 10_000 && shown.windowMs <= 11_000);
  assert.ok(Math.abs((shown.diskBusyShare ?? 0) - 0.29) < 0.03, `${shown.diskBusyShare}`);
});
