import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cellsMax, hostsMax, planLab, runIndexMax } from '#lab/plan.ts';

const linkNameBytesMax = 15;
const options = fc
  .record({
    index: fc.integer({ min: 0, max: runIndexMax }),
    cells: fc.integer({ min: 1, max: cellsMax }),
    hostsPerCell: fc.integer({ min: 1, max: 20 }),
  })
  .filter(({ cells, hostsPerCell }) => cells * hostsPerCell <= hostsMax);

test('every name starts with the prefix and is short enough for an interface', () => {
  fc.assert(
    fc.property(options, (given) => {
      const plan = planLab(given);
      const names = [plan.fabricNetns, plan.gatewayNetns, plan.managementLink, plan.uplinkLink].concat(
        plan.hosts.flatMap((host) => [host.hostNetns, host.cardNetns]),
      );
      for (const name of names) {
        assert.ok(name.startsWith(`${plan.prefix}-`), name);
        assert.ok(name.length <= linkNameBytesMax, name);
      }
      assert.equal(new Set(names).size, names.length);
    }),
  );
});

test('no address is given twice, within a run and between two runs', () => {
  const addresses = (plan: ReturnType<typeof planLab>): string[] => [
    plan.management,
    plan.gatewayManagement,
    plan.gatewayVtep,
    plan.gatewayUplink,
    plan.uplink,
    ...plan.hosts.flatMap((host) => [host.management, host.vtep]),
  ];
  fc.assert(
    fc.property(options, options, (one, other) => {
      const mine = addresses(planLab(one));
      assert.equal(new Set(mine).size, mine.length);
      if (one.index === other.index) return;
      const theirs = new Set(addresses(planLab(other)));
      assert.ok(!mine.some((address) => theirs.has(address)));
    }),
  );
});

test('the first run has the documented addresses', () => {
  const plan = planLab({ index: 0, cells: 2, hostsPerCell: 2 });
  assert.equal(plan.management, '198.18.0.1');
  assert.equal(plan.hosts[0]?.management, '198.18.0.11');
  assert.equal(plan.hosts[3]?.vtep, '198.18.1.14');
  assert.equal(plan.gatewayVtep, '198.18.1.2');
  assert.deepEqual(plan.publicPool, { first: '203.0.113.16', last: '203.0.113.250' });
  assert.deepEqual(
    plan.cells.map((cell) => cell.name),
    ['cell-a', 'cell-b'],
  );
  assert.deepEqual(
    plan.hosts.map((host) => host.cell),
    [1, 1, 2, 2],
  );
});

test('more hosts than there are addresses are refused', () => {
  assert.throws(() => planLab({ index: 0, cells: 8, hostsPerCell: 20 }), RangeError);
  assert.throws(() => planLab({ index: runIndexMax + 1, cells: 1, hostsPerCell: 1 }), RangeError);
});
