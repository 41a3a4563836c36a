/** What a processor believes of its hosts: commits of its own and readings of the store, in whatever order they come. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CapacityView } from '#cell/capacity/view.ts';
import type { CapacityRow } from '#cell/store/capacity.ts';

const row = (epoch: number, usedMemoryMib: number): CapacityRow => ({
  ...{ id: 'h', vtep: '198.18.0.1', zone: 'z', accelerator: 'tcg', state: 'active', card: 'c', open: true },
  ...{ slot_types: null, rack: null, capabilities: [], dedicated_to: null },
  ...{ capacity_vcpus_milli: 4_000, capacity_memory_mib: 1_024, capacity_disk_mib: 10_000 },
  ...{ limit_vcpus_milli: 4_000, limit_memory_mib: 1_024, limit_network_mbps: null },
  ...{ epoch, used_vcpus_milli: 0, used_memory_mib: usedMemoryMib, used_disk_mib: 0, used_network_mbps: 0 },
});
const nothing = new Map();
const usedAfter = (work: (view: CapacityView) => void): number | undefined => {
  const view = new CapacityView();
  view.refresh([row(1, 0)], 0, nothing);
  work(view);
  return view.slots.host('h')?.used.memoryMib;
};

test('a reading that began before a commit does not take the commit back', () => {
  const used = usedAfter((view) => {
    view.commit('instance/a', row(2, 512), 10);
    view.refresh([row(1, 0)], 5, nothing);
  });
  assert.equal(used, 512);
});

test('a reading that has seen the commit, and what came after it, stands: also when both are of one millisecond', () => {
  for (const readAt of [5, 10])
    assert.equal(
      usedAfter((view) => {
        view.commit('instance/a', row(2, 512), 10);
        view.refresh([row(3, 256)], readAt, nothing);
      }),
      256,
    );
});

test('a store that has lost its last commits is believed by the next reading', () => {
  const used = usedAfter((view) => {
    view.commit('instance/a', row(2, 512), 10);
    view.refresh([row(1, 0)], 11, nothing);
  });
  assert.equal(used, 0);
});

test('a claim whose commit is read before it is answered counts once', () => {
  const amount = { vcpusMilli: 0, memoryMib: 512, diskMib: 0, networkMbps: 0 };
  const left = row(2, 512);
  const used = (...readings: CapacityRow[]) =>
    usedAfter((view) => {
      view.begin('instance/a', left, amount);
      for (const reading of readings) view.refresh([reading], 1, nothing);
    });
  assert.equal(used(), 512, 'from its decision on');
  assert.equal(used(row(1, 0)), 512, 'a reading that has not seen it');
  assert.equal(used(left), 512);
  assert.equal(used(row(3, 768)), 768, 'nor beside what came after it');
});
