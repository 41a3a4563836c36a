/** Which version a start of the card's process is: by the record alone. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Programs } from '#card/program/programs.ts';
import {
  atStart,
  leftMs,
  type ProgramRecord,
  readRecord,
  recordPath,
  type Trial,
  writeRecord,
} from '#card/program/record.ts';

const [former, next] = ['a'.repeat(16), 'b'.repeat(16)];
const trialOf = (more: Partial<Trial> = {}): Trial => ({
  ...{ version: next, transactionId: 'ro-1', untilMs: 1_000, withinMs: 500, begun: false, byAgent: false },
  ...more,
});
const recordOf = (trial: Trial | undefined): ProgramRecord => ({
  settled: former,
  failed: [],
  ...(trial && { trial }),
});

test('without a trial the settled version runs, and nothing is written', () => {
  const record = recordOf(undefined);
  assert.deepEqual(atStart(record, 600), { record, version: former, isTrial: false });
});

test('a version on trial is started once; a second start means that it ended, and the former one runs', () => {
  const first = atStart(recordOf(trialOf()), 600);
  assert.deepEqual([first.version, first.isTrial], [next, true]);
  const second = atStart(first.record, 601);
  assert.deepEqual([second.version, second.isTrial, second.record.trial], [former, false, undefined]);
  assert.match(second.record.failed[0]?.detail ?? '', /ended before it was confirmed/);
  assert.deepEqual(atStart(second.record, 602).record, second.record);
});

test('a trial whose time is over is not begun; a clock that went back is another boot’s', () => {
  for (const nowMs of [1_000, 5_000, 499, 0]) {
    const { version, record } = atStart(recordOf(trialOf()), nowMs);
    assert.equal(version, former, `at ${nowMs}`);
    assert.equal(record.failed.length, 1);
  }
  assert.equal(leftMs(trialOf(), 700), 300);
});

test('failures are remembered, and not without end', () => {
  let record = recordOf(undefined);
  for (let at = 0; at < 100; at += 1)
    record = atStart({ ...record, trial: trialOf({ transactionId: `ro-${at}`, begun: true }) }, 600).record;
  assert.equal(record.failed.length, 32);
  assert.equal(record.failed.at(-1)?.transactionId, 'ro-99');
});

test('a record that is torn, or none: the machine’s own program', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'pando-program-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  assert.deepEqual(readRecord(recordPath(dir)), { failed: [] });
  for (const text of ['', '{', '{"settled":"../../etc","failed":[]}', 'null']) {
    writeFileSync(recordPath(dir), text);
    assert.deepEqual(readRecord(recordPath(dir)), { failed: [] }, text);
  }
});

test('a version that is not here, or is no version, is refused by name; one that failed in this change too', (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'pando-program-'));
  t.after(() => rmSync(stateDir, { recursive: true, force: true }));
  const open = (running?: string): Programs =>
    new Programs({ stateDir, programsDir: stateDir, running, machines: former, end: () => undefined });
  for (const bad of ['../../../etc', '', 'B'.repeat(16), `${next}\n`])
    assert.throws(() => open().switchTo(bad, {}), /is no version of the card's program/);
  assert.throws(() => open().switchTo(next, {}), /is not on this host: pando program add/);
  assert.equal(open().switchTo(undefined, {}), undefined, 'it runs');
  assert.equal(open().switchTo(former, {}), undefined, 'the machine’s own, by name');
  writeRecord(recordPath(stateDir), {
    ...recordOf(undefined),
    failed: [{ transactionId: 'ro-1', detail: 'it ended', atMs: 0 }],
  });
  const confirmed = { transactionId: 'ro-1', confirmWithinMs: 500 };
  assert.throws(() => open(next).switchTo(undefined, confirmed), /ProgramFailed: it ended/);
  assert.equal(
    open(next).switchTo(undefined, { ...confirmed, transactionId: 'ro-2' })?.transactionId,
    'ro-2',
  );
});

test('a trial is this process’s only if it is that version; settled, it is the one that runs from then on', (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'pando-program-'));
  t.after(() => rmSync(stateDir, { recursive: true, force: true }));
  const withinMs = Number.MAX_SAFE_INTEGER;
  writeRecord(recordPath(stateDir), recordOf(trialOf({ begun: true, untilMs: withinMs, withinMs })));
  const open = (running: string): Programs =>
    new Programs({ stateDir, programsDir: undefined, running, machines: undefined, end: () => undefined });
  assert.equal(open(former).trial, undefined);
  open(next).settle('ro-2');
  assert.notEqual(readRecord(recordPath(stateDir)).trial, undefined, 'another transaction settles nothing');
  open(next).settle('ro-1');
  assert.deepEqual(readRecord(recordPath(stateDir)), { settled: next, failed: [] });
});
