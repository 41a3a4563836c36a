/** What hosts report of the kernel's figures lowers their slots, and is forgiven when it is over (S4.4): with a clock of the test's own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Capacity } from '#cell/capacity/capacity.ts';
import { CommandLease } from '#cell/command-lease.ts';
import { kindsOfPressure, PressureWatch } from '#cell/hosts/pressure.ts';
import { HostSessions } from '#cell/hosts/sessions.ts';
import type { CapacityRow } from '#cell/store/capacity.ts';
import type { HostPressure } from '#contracts/host.ts';
import { slotsOf } from '#slots/report.ts';

const windowMs = 10_000;
const nano = { type: 'p1.nano', amount: { vcpusMilli: 250, memoryMib: 64, diskMib: 0, networkMbps: 32 } };

test('which figures are want of what; a disk that is busy and quick is no want', () => {
  const cases: readonly [Omit<HostPressure, 'windowMs'>, readonly string[]][] = [
    [{}, []],
    [{ stealShare: 0.3 }, ['steal']],
    [{ throttledShare: 0.6 }, ['steal']],
    [{ memoryStallShare: 0.4 }, ['memory-pressure']],
    [{ diskBusyShare: 1, ioStallShare: 0.8 }, ['disk']],
    [{ diskBusyShare: 1, ioStallShare: 0.05 }, []],
    [{ diskBusyShare: 0.2, ioStallShare: 0.8 }, []],
    // A kernel that keeps no pressure information.
    [{ diskBusyShare: 0.99 }, ['disk']],
    [{ networkShare: 0.97, stealShare: 0.2 }, ['steal', 'network']],
    [{ stealShare: 0.05, memoryStallShare: 0.02, networkShare: 0.5 }, []],
  ];
  for (const [figures, kinds] of cases)
    assert.deepEqual(kindsOfPressure({ windowMs, ...figures }), kinds, JSON.stringify(figures));
  assert.deepEqual(kindsOfPressure(undefined), [], 'a host of the last release');
});

const row = (id: string): CapacityRow => ({
  ...{ id, vtep: '198.18.1.11', epoch: 1, zone: 'z', accelerator: 'sim', state: 'active', card: 'ok' },
  ...{ capacity_vcpus_milli: 8_000, capacity_memory_mib: 8_192, capacity_disk_mib: 100_000 },
  ...{ limit_vcpus_milli: 8_000, limit_memory_mib: 8_192, limit_network_mbps: 10_000 },
  ...{ used_vcpus_milli: 0, used_memory_mib: 0, used_disk_mib: 0, used_network_mbps: 0 },
  ...{ rack: null, capabilities: [], dedicated_to: null, slot_types: null, open: true },
});

const setUp = () => {
  let now = 0;
  const clock = { now: () => now, monotonicMs: () => now, sleep: () => Promise.resolve() };
  const nobody = (): Promise<never> => Promise.reject(new Error('no store'));
  const db = { query: nobody, transaction: nobody };
  const capacity = new Capacity({ db, clock, hosts: new HostSessions(new CommandLease()) });
  const occupants = { running: new Map([['p1.nano', 4]]), accounts: new Set<string>() };
  const rows = ['h-bad', 'h-like', 'h-other'].map(row);
  capacity.view.refresh(
    rows,
    0,
    new Map([
      ['h-bad', occupants],
      ['h-like', occupants],
    ]),
  );
  const { slots } = capacity.view;
  slots.setDemand([{ ...nano, weight: 1 }]);
  const watch = new PressureWatch({ capacity, clock });
  const fitness = (hostId: string): number => {
    const facts = slots.host(hostId);
    assert.ok(facts);
    return capacity.fitness(facts, nano.type);
  };
  return {
    ...{ capacity, fitness, slots },
    /** Seconds pass, with a report in each. */
    pass: (seconds: number, pressure: HostPressure | undefined): void => {
      for (let n = 0; n < seconds; n++) {
        now += 1_000;
        watch.look({ hostId: 'h-bad', loadAverage1: 0, memoryAvailableMib: 4_096, pressure });
      }
      // As the periodic task does it while reports decay.
      slots.rescoreAll();
    },
    count: (hostId: string): number => slotsOf(slots, hostId)?.actual[0]?.count ?? 0,
  };
};

test('S4.4 a network that stays full lowers the host’s slots and puts it last; when it is over they come back', () => {
  const { pass, fitness, slots, count, capacity } = setUp();
  const full: HostPressure = { windowMs, networkShare: 0.98 };
  const before = count('h-bad');
  pass(60, full);
  assert.equal(fitness('h-bad'), 1, 'a minute is no pattern');
  assert.equal(capacity.calm('h-bad'), 1);
  pass(40 * 60, full);
  assert.equal(fitness('h-bad'), 0.25);
  assert.equal(capacity.calm('h-bad'), 0);
  assert.ok(count('h-bad') < before / 2, `${count('h-bad')} of ${before} slots`);
  assert.equal(fitness('h-like'), 0.5, 'its class, with such neighbours, is thought less of');
  assert.equal(capacity.calm('h-like'), 1);
  assert.equal(fitness('h-other'), 1, 'without them it is not');
  assert.deepEqual(slots.choose({ ...nano, max: 3 })[0], 'h-other');
  pass(60 * 60, { windowMs, networkShare: 0.1 });
  assert.equal(fitness('h-bad'), 1);
  assert.equal(fitness('h-like'), 1);
  assert.equal(count('h-bad'), before);
});

test('reports while it lasts count once a minute, however many come', () => {
  const { pass, capacity } = setUp();
  pass(3 * 60, { windowMs, stealShare: 0.5 });
  assert.equal(capacity.calm('h-bad'), 1, 'three reports of half a weight');
});
