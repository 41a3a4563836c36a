/** S5.1, S5.6: pools with marks, who gives to whom, and what no plan may do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { planChanges } from '#reconfiguration/plan.ts';
import { countPools, faultsOf, type Pool, type PoolHost } from '#reconfiguration/pools.ts';

const pool = (name: string, low: number, target: number, more: Partial<Pool> = {}): Pool => ({
  ...{ name, slotType: `${name}.1`, low, target, layout: {} },
  ...more,
});
const host = (hostId: string, of: string | undefined, more: Partial<PoolHost> = {}): PoolHost => ({
  ...{ hostId, hostClass: 'rack', pool: of, serving: true, restsMs: 0, vms: 0, memoryMib: 0 },
  ...more,
});
const noDemand: ReadonlyMap<string, number> = new Map();

test('a pool with impossible marks is refused with a reason', () => {
  assert.deepEqual(faultsOf(pool('small', 1, 3)), []);
  const wrong: readonly [Pool, RegExp][] = [
    [pool('small', 4, 3), /above target/],
    [pool('small', -1, 3), /whole number/],
    [pool('small', 0, 1.5), /whole number/],
    [pool('small', 0, 1e9), /10000/],
    [pool('Small!', 0, 1), /lower case/],
    [pool('small', 0, 1, { layout: { memoryOversubscription: 21 } }), /from 1 to 20/],
    [pool('small', 0, 1, { layout: { vcpuOversubscription: Number.NaN } }), /from 1 to 20/],
    [pool('small', 0, 1, { layout: { types: ['big.1'] } }), /does not give small\.1/],
  ];
  for (const [each, words] of wrong) assert.match(faultsOf(each).join('; '), words);
});

test('a low mark asks up to the target; above it nothing happens', () => {
  const pools = [pool('big', 1, 2), pool('small', 0, 2)];
  const hosts = ['a', 'b', 'c', 'd', 'e'].map((id) => host(id, 'small'));
  const plan = planChanges({ pools, hosts, demand: noDemand, concurrentMax: 4 });
  assert.deepEqual(
    plan.changes.map(({ hostId, from, to }) => [hostId, from, to]),
    [
      ['a', 'small', 'big'],
      ['b', 'small', 'big'],
    ],
  );
  const calm = hosts.map((each, at) => (at === 0 ? { ...each, pool: 'big' } : each));
  assert.deepEqual(planChanges({ pools, hosts: calm, demand: noDemand, concurrentMax: 4 }).changes, []);
});

test('waiting demand is met before a low mark, from the host that is cheapest to empty', () => {
  const pools = [pool('big', 0, 0), pool('cache', 1, 1), pool('small', 1, 2)];
  const hosts = [
    host('a', 'small', { vms: 3, memoryMib: 300 }),
    host('b', 'small', { vms: 1, memoryMib: 900 }),
    host('c', 'small', { vms: 1, memoryMib: 100 }),
  ];
  const plan = planChanges({ pools, hosts, demand: new Map([['big', 1]]), concurrentMax: 4 });
  assert.deepEqual(
    plan.changes.map(({ hostId, to, vms }) => [hostId, to, vms]),
    [['c', 'big', 1]],
  );
  assert.deepEqual(
    plan.unmet.map(({ pool: name }) => name),
    ['cache'],
    'small is at its target then',
  );
});

test('who asks gives nothing, and all pools below target means that nobody gives', () => {
  const pools = [pool('big', 2, 3), pool('small', 2, 3)];
  const hosts = [host('a', 'big'), host('b', 'small')];
  const plan = planChanges({ pools, hosts, demand: noDemand, concurrentMax: 4 });
  assert.deepEqual(plan.changes, []);
  assert.match(plan.unmet.map(({ why }) => why).join(' '), /no pool has more hosts than its target/);
  const asked = [pool('big', 0, 0), pool('small', 0, 0)];
  const demand = new Map([
    ['big', 1],
    ['small', 1],
  ]);
  assert.deepEqual(planChanges({ pools: asked, hosts, demand, concurrentMax: 4 }).changes, []);
});

test('what stands in the way is said', () => {
  const pools = [pool('big', 1, 1, { hostClass: 'gpu' }), pool('small', 0, 0)];
  const why = (hosts: PoolHost[], concurrentMax = 4) =>
    planChanges({ pools, hosts, demand: noDemand, concurrentMax }).unmet[0]?.why ?? '';
  assert.match(why([host('a', 'small')]), /no host to spare is of class gpu/);
  const gpu = { hostClass: 'gpu' } as const;
  assert.match(why([host('a', 'small', { ...gpu, serving: false })]), /no pool has more|serves/);
  assert.match(why([host('a', 'small', { ...gpu, restsMs: 5 })]), /rest since/);
  assert.match(why([host('a', 'small', { ...gpu, stays: 'i-1 is stopped there' })]), /i-1 is stopped there/);
  assert.match(why([host('a', 'small', gpu)], 0), /under way/);
});

const names: readonly string[] = ['p', 'q', 'r'];
const picture = fc.record({
  pools: fc
    .tuple(...names.map(() => fc.tuple(fc.nat(4), fc.nat(4))))
    .map((marks) => marks.map(([low, more], at) => pool(names[at] ?? 'p', low, low + more))),
  hosts: fc
    .array(
      fc.record({
        hostClass: fc.constantFrom('rack', 'gpu'),
        pool: fc.constantFrom(...names, undefined),
        serving: fc.boolean(),
        changingTo: fc.constantFrom(undefined, undefined, undefined, ...names),
        restsMs: fc.constantFrom(0, 0, 5),
        vms: fc.nat(3),
        memoryMib: fc.nat(1_000),
        stays: fc.constantFrom(undefined, undefined, 'a stopped disk'),
      }),
      { maxLength: 24 },
    )
    .map((all) => all.map((each, at): PoolHost => ({ ...each, hostId: `h-${at}` }))),
  demand: fc
    .array(fc.tuple(fc.constantFrom(...names), fc.nat(4)), { maxLength: 3 })
    .map((all) => new Map(all)),
  concurrentMax: fc.nat(5),
});

test('no plan starves a donor, touches who rests, or changes more hosts at once than may be', () => {
  fc.assert(
    fc.property(picture, (input) => {
      const { changes, unmet } = planChanges(input);
      const underWay = input.hosts.filter(({ changingTo }) => changingTo !== undefined).length;
      assert.ok(changes.length === 0 || underWay + changes.length <= input.concurrentMax);
      assert.equal(new Set(changes.map(({ hostId }) => hostId)).size, changes.length);
      const byId = new Map(input.hosts.map((each) => [each.hostId, each]));
      for (const change of changes) {
        const donor = byId.get(change.hostId);
        assert.ok(donor?.serving && donor.changingTo === undefined && donor.restsMs === 0);
        assert.equal(donor.stays, undefined);
        assert.ok(change.from === undefined || (input.demand.get(change.from) ?? 0) === 0);
        assert.notEqual(change.from, change.to);
      }
      const after = input.hosts.map((each): PoolHost => {
        const change = changes.find(({ hostId }) => hostId === each.hostId);
        return change === undefined ? each : { ...each, changingTo: change.to };
      });
      const counts = new Map(
        countPools(input.pools, after, input.demand).map((each) => [each.pool.name, each]),
      );
      for (const { from } of changes) {
        const donor = from === undefined ? undefined : counts.get(from);
        assert.ok(donor === undefined || donor.have >= donor.pool.target, `${from} is starved`);
      }
      for (const { why, lacks } of unmet) assert.ok(lacks > 0 && why.length > 0);
    }),
    { numRuns: 5_000 },
  );
});

test('without demand, hosts do not go round: a plan that is carried out is followed by none of the same pools', () => {
  fc.assert(
    fc.property(picture, ({ pools, hosts }) => {
      let now = hosts.map((each): PoolHost => ({ ...each, changingTo: undefined, restsMs: 0 }));
      let steps = 0;
      for (;;) {
        const { changes } = planChanges({ pools, hosts: now, demand: noDemand, concurrentMax: 3 });
        if (changes.length === 0) break;
        assert.ok(++steps <= hosts.length, 'it never comes to rest');
        const to = new Map(changes.map((change) => [change.hostId, change.to]));
        now = now.map((each) => ({ ...each, pool: to.get(each.hostId) ?? each.pool }));
      }
    }),
    { numRuns: 1_000 },
  );
});
