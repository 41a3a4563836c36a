/** Which hosts a group's constraint excludes, and which members violate one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  duePartitions,
  type GroupNeeds,
  type Member,
  nearestFirst,
  obstacleOf,
  rackOf,
  roomiestRack,
  violationsOf,
} from '#slots/constraints.ts';
import { explain } from '#slots/report.ts';
import { SlotMap } from '#slots/slot-map.ts';
import { amount, host } from './support.ts';

const member = (holder: string, hostId: string, more: Partial<Member> = {}): Member => ({
  ...{ holder, hostId, rack: '' },
  ...more,
});
const group = (strategy: GroupNeeds['strategy'], members: readonly Member[], more = {}): GroupNeeds => ({
  ...{ groupId: 'pg-1', strategy, members },
  ...more,
});

test('spread excludes hosts with a member, partition those of another partition, cluster other racks', () => {
  const spread = group('spread', [member('i-1', 'h-1')]);
  assert.equal(obstacleOf(host('h-1'), { group: spread })?.constraint, 'spread');
  assert.equal(obstacleOf(host('h-2'), { group: spread }), undefined);
  const members = [member('i-1', 'h-1', { partition: 1 }), member('i-2', 'h-2', { partition: 2 })];
  const parts = group('partition', members, { partition: 2 });
  assert.equal(obstacleOf(host('h-1'), { group: parts })?.constraint, 'partition');
  assert.equal(obstacleOf(host('h-2'), { group: parts }), undefined);
  assert.equal(obstacleOf(host('h-3'), { group: parts }), undefined);
  const cluster = group('cluster', [member('i-1', 'h-1', { rack: 'a' })]);
  assert.equal(obstacleOf(host('h-3', { rack: 'b' }), { group: cluster })?.constraint, 'cluster');
  assert.equal(obstacleOf(host('h-3'), { group: cluster })?.constraint, 'cluster');
  assert.equal(obstacleOf(host('h-3', { rack: 'a' }), { group: cluster }), undefined);
  assert.equal(obstacleOf(host('h-3'), { group: group('cluster', []) }), undefined);
  assert.equal(
    obstacleOf(host('h-3'), { group: group('cluster', [], { rack: 'b' }) })?.constraint,
    'cluster',
  );
});

test('tenancy: a dedicated host takes its account alone, a dedicated VM a host without others', () => {
  const mine = { accountId: 'a' };
  assert.equal(obstacleOf(host('h', { dedicatedTo: 'b' }), mine)?.constraint, 'tenancy');
  assert.equal(obstacleOf(host('h', { dedicatedTo: 'a' }), mine), undefined);
  const alone = { ...mine, dedicated: true };
  assert.equal(obstacleOf(host('h', { accounts: new Set(['a', 'b']) }), alone)?.constraint, 'tenancy');
  assert.equal(obstacleOf(host('h', { accounts: new Set(['a']) }), alone), undefined);
  assert.equal(obstacleOf(host('h'), alone), undefined);
  assert.equal(obstacleOf(host('h', { accounts: new Set(['b']) }), mine), undefined);
});

test('a capability that a host has not excludes it; explain names what excludes each', () => {
  assert.equal(obstacleOf(host('h'), { capabilities: ['avx2'] })?.constraint, 'capability');
  assert.equal(obstacleOf(host('h'), { capabilities: ['sim'] }), undefined);
  const map = new SlotMap();
  for (const id of ['h-1', 'h-2', 'h-3']) map.set(host(id));
  map.set(host('h-4', { capabilities: new Set(['sim', 'avx2']) }));
  const needs = { capabilities: ['sim'], group: group('spread', [member('i-1', 'h-1')]) };
  const asked = { type: 't', amount: amount(1, 1), fitness: () => 1, max: 9 };
  const verdicts = explain(map, { ...asked, needs });
  assert.deepEqual(
    verdicts.map(({ hostId, fits, obstacle }) => [hostId, fits, obstacle?.constraint]),
    [
      ['h-2', true, undefined],
      ['h-3', true, undefined],
      ['h-4', true, undefined],
      ['h-1', false, 'spread'],
    ],
  );
  assert.match(verdicts[3]?.obstacle?.detail ?? '', /pg-1.*i-1/);
  assert.equal(explain(map, { ...asked, needs: { capabilities: ['avx2'] } })[0]?.hostId, 'h-4');
});

test('a cluster group begins in the rack with room for all, and grows where its members are', () => {
  const hosts = [
    { facts: host('h-1', { rack: 'a' }), free: amount(2, 2) },
    { facts: host('h-2', { rack: 'b' }), free: amount(3, 3) },
    { facts: host('h-3', { rack: 'a' }), free: amount(2, 2) },
    { facts: host('h-4', { rack: 'c', open: false }), free: amount(99, 99) },
  ];
  assert.equal(roomiestRack(hosts, amount(1, 1), 4), 'a');
  assert.equal(roomiestRack(hosts, amount(3, 3), 4), 'b');
  assert.equal(roomiestRack([], amount(1, 1), 1), undefined);
  const members = [member('i-1', 'h-3', { rack: 'a' }), member('i-2', 'h-3', { rack: 'a' })];
  assert.deepEqual(nearestFirst(['h-1', 'h-3'], group('cluster', members)), ['h-3', 'h-1']);
  assert.deepEqual(nearestFirst(['h-1', 'h-3'], group('spread', members)), ['h-1', 'h-3']);
  assert.equal(rackOf({ members: [...members, member('i-3', 'h-9', { rack: 'b' })] }), 'a');
});

test('the partition that is due has the fewest members; one that moves counts once', () => {
  const at = (holder: string, partition: number): Member => member(holder, 'h', { partition });
  assert.deepEqual(duePartitions(3, []), [1, 2, 3]);
  const members = [at('a', 1), at('a', 1), at('b', 2), at('c', 2)];
  assert.deepEqual(duePartitions(3, members), [3, 1, 2]);
  assert.deepEqual(duePartitions(2, members), [1, 2]);
});

test('after the violating members are gone nobody violates, and whoever was there first stays', () => {
  const members = fc.array(
    fc.record({
      holder: fc.nat(12).map((n) => `i-${n}`),
      hostId: fc.nat(4).map((n) => `h-${n}`),
      rack: fc.constantFrom('a', 'b'),
      partition: fc.integer({ min: 1, max: 3 }),
    }),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(members, fc.constantFrom('spread', 'cluster', 'partition'), (all, strategy) => {
      const wrong = violationsOf({ strategy, members: all });
      const left = all.filter(
        ({ holder, hostId }) => !wrong.some((each) => each.holder === holder && each.hostId === hostId),
      );
      assert.deepEqual(violationsOf({ strategy, members: left }), []);
      if (strategy !== 'cluster' && all[0] !== undefined) assert.ok(left.includes(all[0]));
      if (wrong.length === 0) assert.deepEqual(left, all);
    }),
  );
});
