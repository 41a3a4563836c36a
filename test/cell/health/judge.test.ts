/** How a VM's reports become status checks: by evidence, and never for the worse by knowing less. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type InstanceHealth, isOlderEnd, judge, sameHealth } from '#cell/health/judge.ts';
import { type HostNow, shownChecks } from '#cell/health/shown.ts';
import {
  guestConfiguresMsMax,
  hostAwayMsMax,
  initializingMsMin,
  processorsStalledMsMax,
  resetsMax,
} from '#cell/limits.ts';
import type { VmHealth, VmReport, VmState } from '#contracts/host.ts';

const report = (health: VmHealth | undefined, state: VmState = 'running'): VmReport => ({
  instanceId: 'i-1',
  state,
  requirement: { vcpus: 1, memoryMib: 64, rootDiskMib: 64 },
  health,
});
const booting: VmHealth = { runState: 'running', noSpace: false, bootSeen: true, resets: 0 };
const configured: VmHealth = { ...booting, configured: true, listenedMs: 5_000, stalledMs: 0 };
const silent: VmHealth = { ...booting, configured: false, listenedMs: 5_000 };
/** What a new agent, a new card, or the target of a migration says of a guest that it has not heard yet. */
const lessKnown: VmHealth = { ...silent, bootSeen: false, listenedMs: 10 };

const at = (nowMs: number): string => new Date(nowMs).toISOString();
const judged = (before: InstanceHealth | undefined, health: VmHealth, nowMs = 0): InstanceHealth => {
  const next = judge(before, report(health), nowMs);
  assert.ok(next);
  return next;
};
const well = judged(undefined, configured, 1_000);

test('a guest is ok by evidence, and initializing until then', () => {
  assert.deepEqual(judged(undefined, booting).instance, { status: 'initializing', since: at(0) });
  assert.equal(judged(undefined, silent).instance.status, 'initializing');
  assert.deepEqual(well.instance, { status: 'ok', since: at(1_000) });
  assert.equal(judged(undefined, silent).system.status, 'ok', 'the host has done its part');
});

test('a guest that is not heard of in time is impaired, by its own check alone; heard of later it is ok', () => {
  const late = judged(undefined, { ...silent, listenedMs: guestConfiguresMsMax }, 9);
  assert.deepEqual(late.instance, { status: 'impaired', since: at(9), cause: 'not-configured' });
  assert.equal(late.system.status, 'ok');
  assert.equal(judged(late, { ...silent, listenedMs: guestConfiguresMsMax + 1 }, 99).instance.since, at(9));
  assert.equal(judged(late, configured).instance.status, 'ok');
});

test('after a migration, a new agent or a new card less is known: nothing becomes worse by that', () => {
  for (const health of [
    lessKnown,
    { ...lessKnown, configured: undefined },
    { ...booting, bootSeen: false },
  ]) {
    assert.deepEqual(judged(well, health, 50_000), well);
    assert.deepEqual(judged(well, { ...health, listenedMs: 2 * guestConfiguresMsMax }, 50_000), well);
  }
  const never = judged(undefined, { ...silent, listenedMs: guestConfiguresMsMax });
  assert.deepEqual(judged(never, lessKnown), never, 'nor better');
  const young = judged(undefined, silent);
  assert.deepEqual(judged(young, lessKnown, 7), young);
  assert.equal(
    judged(young, { ...lessKnown, listenedMs: guestConfiguresMsMax }).instance.cause,
    'not-configured',
    'one that nobody has ever heard of is not forgotten',
  );
});

test('a report of before the launch ended says nothing of the guest; nor does an end of before its present life', () => {
  for (const state of ['preparing', 'incoming'] as const)
    for (const health of [undefined, { noSpace: false }, { runState: 'prelaunch' }, booting])
      assert.equal(judge(well, report(health, state), 1), undefined, state);
  for (const state of ['stopped', 'failed', 'absent'] as const) {
    const told = { ...report(undefined, state), generation: 4 };
    assert.equal(isOlderEnd(told, 5), true, 'of before a start');
    assert.equal(isOlderEnd(told, 4), false);
  }
  assert.equal(isOlderEnd({ ...report(booting), generation: 4 }, 5), false, 'one that runs was not undone');
});

test('a boot that was seen begins anew', () => {
  const again = judged(well, { ...silent, listenedMs: 100 }, 2_000);
  assert.deepEqual(again.instance, { status: 'initializing', since: at(2_000) });
  assert.equal(judged(again, configured, 3_000).instance.status, 'ok');
});

test('what stands still is impaired: by the host’s doing in both checks, by the guest’s in its own', () => {
  const cases: [VmHealth, string, string][] = [
    [{ runState: 'io-error', noSpace: true }, 'disk-full', 'disk-full'],
    [{ runState: 'io-error', noSpace: false }, 'disk-error', 'disk-error'],
    [{ runState: 'paused' }, 'vmm-stopped', 'vmm-stopped'],
    [{ runState: 'internal-error' }, 'vmm-stopped', 'vmm-stopped'],
    [{ runState: 'prelaunch' }, 'vmm-stopped', 'vmm-stopped'],
    [{}, 'vmm-stopped', 'vmm-stopped'],
    [{ runState: 'guest-panicked' }, 'guest-stopped', 'none'],
    [{ runState: 'suspended' }, 'guest-stopped', 'none'],
  ];
  for (const [health, instance, system] of cases) {
    const next = judged(well, health, 5_000);
    assert.deepEqual([next.instance.cause, next.system.cause ?? 'none'], [instance, system]);
    assert.deepEqual([next.instance.status, next.instance.since], ['impaired', at(5_000)]);
  }
  assert.equal(judge(well, report(undefined, 'stopped'), 0)?.instance.cause, 'vm-ended');
});

test('once it runs again it is what is known of it: its address was never lost', () => {
  const stood = judged(well, { runState: 'io-error', noSpace: true }, 5_000);
  assert.equal(judged(stood, configured, 6_000).instance.status, 'ok');
  assert.equal(judged(stood, configured, 6_000).system.status, 'ok');
});

test('impaired for another reason is impaired since the first', () => {
  const first = judged(well, { runState: 'io-error', noSpace: true }, 5_000);
  const second = judged(first, { runState: 'paused' }, 9_000);
  assert.deepEqual([second.instance.cause, second.instance.since], ['vmm-stopped', at(5_000)]);
});

test('a reset loop and processors that do nothing are impaired, though the guest was heard of', () => {
  const loop = judged(well, { ...configured, resets: resetsMax });
  assert.deepEqual([loop.instance.cause, loop.system.status], ['reset-loop', 'ok']);
  assert.equal(judged(well, { ...configured, resets: resetsMax - 1 }).instance.status, 'ok');
  const stalled = judged(well, { ...configured, stalledMs: processorsStalledMsMax });
  assert.equal(stalled.instance.cause, 'processors-stalled');
});

test('a report without health says nothing of a VM that is on its way, or of a host of the last release', () => {
  for (const state of ['running', 'paused', 'incoming', 'preparing'] as const)
    assert.equal(judge(well, report(undefined, state), 0), undefined);
});

test('the same report again changes nothing, so that nothing is written', () => {
  for (const health of [booting, silent, configured, lessKnown, { runState: 'paused' }]) {
    const once = judged(well, health, 1_500);
    assert.ok(sameHealth(once, judged(once, health, 99_000)));
  }
});

const row = { state: 'running', launch_time: new Date(0) } as const;
const facts = (more: object = {}) => ({
  ...({
    id: 'h-1',
    card: 'ok',
    card_changed_at: null,
    card_ms: null,
    heard_at: new Date(77),
    silent_ms: 5,
  } as const),
  ...more,
});
const host = (more: Partial<HostNow> = {}): HostNow => ({
  ...{ facts: facts(), connected: true, silentOnHealth: false },
  ...more,
});
const later = initializingMsMin + 1;

test('shown: a host that is silent for long impairs the system check since it was heard; the guest’s is not known', () => {
  const away = (silent_ms: number | null, connected = false) =>
    shownChecks(row, well, host({ facts: facts({ silent_ms }), connected }), later);
  assert.equal(away(hostAwayMsMax).system.status, 'ok', 'an agent that starts again');
  const { system, instance } = away(hostAwayMsMax + 1);
  assert.deepEqual(system, { status: 'impaired', since: new Date(77) });
  assert.equal(instance.status, 'insufficient-data');
  assert.equal(away(hostAwayMsMax + 1, true).system.status, 'ok', 'it speaks with this processor');
  assert.equal(away(null).system.status, 'ok', 'no processor was there to hear it');
});

test('shown: a card that is away for long impairs the system check alone', () => {
  const card = (card_ms: number) =>
    shownChecks(
      row,
      well,
      host({ facts: facts({ card: 'degraded', card_ms, card_changed_at: new Date(88) }) }),
      later,
    );
  assert.equal(card(hostAwayMsMax).system.status, 'ok', 'a card that starts again');
  assert.deepEqual(card(hostAwayMsMax + 1).system, { status: 'impaired', since: new Date(88) });
  assert.equal(card(hostAwayMsMax + 1).instance.status, 'ok');
});

test('shown: initializing at first; not judged yet is initializing, but not on a host of the last release', () => {
  assert.equal(shownChecks(row, well, host(), initializingMsMin - 1).instance.status, 'initializing');
  assert.equal(shownChecks(row, well, host(), later).instance.status, 'ok');
  assert.equal(shownChecks(row, undefined, host(), later).instance.status, 'initializing');
  assert.equal(shownChecks(row, undefined, host({ silentOnHealth: true }), later).instance.status, 'ok');
  const stopped = shownChecks({ ...row, state: 'stopped' }, well, host(), later);
  assert.equal(stopped.system.status, 'not-applicable');
  const full = judged(well, { runState: 'io-error', noSpace: true }, 5_000);
  const { disk, instance } = shownChecks(row, full, host(), 1);
  assert.deepEqual([disk.status, instance.status], ['impaired', 'impaired'], 'at once');
});
