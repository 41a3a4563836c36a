/** The group that placement uses: which host comes first, what leaves it, and that it follows demand and reports. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AdverseBook } from '#slots/adverse.ts';
import { fits } from '#slots/amount.ts';
import { Demand } from '#slots/demand.ts';
import { capacityOf, explain, slotsOf } from '#slots/report.ts';
import { SlotMap } from '#slots/slot-map.ts';
import { amount, demanded, host } from './support.ts';

const nano = { type: 'nano', amount: amount(250, 256) };
const large = { type: 'large', amount: amount(4_000, 4_096) };
const all = () => 1;

test('a small VM goes where it breaks no big slot that is asked for', () => {
  const map = new SlotMap();
  map.setDemand([demanded('nano', nano.amount, 0.5), demanded('large', large.amount, 0.5)]);
  map.set(host('h-empty'));
  map.set(host('h-odd', { used: amount(4_500, 4_608) }));
  assert.deepEqual(map.choose({ ...nano, max: 2 }), ['h-odd', 'h-empty']);
  assert.deepEqual(map.choose({ ...large, max: 2 }), ['h-empty']);
});

test('where nobody asks for bigger ones, VMs spread: each gets the most of its host', () => {
  const map = new SlotMap();
  map.setDemand([demanded('nano', nano.amount, 1)]);
  map.set(host('h-1', { used: amount(2_000, 2_048) }));
  map.set(host('h-2'));
  assert.deepEqual(map.choose({ ...nano, max: 1 }), ['h-2']);
});

test('a host whose processors are all promised comes after those whose are not', () => {
  const map = new SlotMap();
  map.setDemand([demanded('nano', nano.amount, 0.5), demanded('large', large.amount, 0.5)]);
  const limit = amount(32_000, 8_192, 100_000, 10_000);
  map.set(host('h-busy', { limit, used: amount(8_000, 4_608) }));
  map.set(host('h-idle', { limit }));
  assert.deepEqual(map.choose({ ...nano, max: 2 }), ['h-idle', 'h-busy']);
});

test('S4.6 a silent host’s slots are withdrawn before the next placement, and come back with it', () => {
  const map = new SlotMap();
  map.set(host('h-1'));
  assert.deepEqual(map.choose({ ...nano, max: 1 }), ['h-1']);
  map.set(host('h-1', { open: false }));
  assert.deepEqual(map.choose({ ...nano, max: 1 }), []);
  assert.deepEqual(slotsOf(map, 'h-1')?.actual, []);
  map.set(host('h-1'));
  assert.deepEqual(map.choose({ ...nano, max: 1 }), ['h-1']);
  map.delete('h-1');
  assert.deepEqual(map.choose({ ...nano, max: 1 }), []);
  assert.equal(map.size, 0);
});

test('S4.6 a shift in demand changes the published mix', () => {
  const map = new SlotMap();
  map.set(host('h-1'));
  const demand = new Demand({ halfLifeMs: 1_000 });
  demand.note('nano', nano.amount, 'arrival', 0, 100);
  map.setDemand(demand.types(0));
  assert.deepEqual(slotsOf(map, 'h-1')?.actual, [{ type: 'nano', count: 32 }]);
  demand.note('large', large.amount, 'refusal', 10_000, 100);
  map.setDemand(demand.types(10_000));
  assert.deepEqual(slotsOf(map, 'h-1')?.actual, [{ type: 'large', count: 2 }]);
  assert.deepEqual(slotsOf(map, 'h-1')?.potential, [{ type: 'nano', of: [{ type: 'large', count: 1 }] }]);
});

test('demand: refusals count double, what is old half, what waits as long as it waits; few types are remembered', () => {
  const demand = new Demand({ halfLifeMs: 1_000, typesMax: 3 });
  const shares = (at: number) => demand.types(at).map(({ type, weight }) => [type, Math.round(weight * 100)]);
  demand.note('a', nano.amount, 'arrival', 0, 2);
  demand.note('b', nano.amount, 'refusal', 0, 1);
  assert.deepEqual(shares(0), [
    ['a', 50],
    ['b', 50],
  ]);
  demand.note('b', nano.amount, 'arrival', 1_000, 1);
  assert.deepEqual(shares(1_000), [
    ['b', 67],
    ['a', 33],
  ]);
  demand.setPending('c', nano.amount, 3);
  assert.deepEqual(shares(1_000)[0], ['c', 67]);
  demand.note('d', nano.amount, 'arrival', 1_000);
  assert.equal(
    demand.types(1_000).some(({ type }) => type === 'a'),
    false,
    'the least asked for is forgotten',
  );
  demand.setPending('c', nano.amount, 0);
  assert.equal(
    demand.types(1_000).some(({ type }) => type === 'c'),
    false,
  );
});

test('S4.4 failed launches lower a type on a host, withdraw it, and are forgiven; its class is wary', () => {
  let now = 0;
  const book = new AdverseBook({ halfLifeMs: 1_000 });
  const map = new SlotMap((facts, type) => book.fitness(facts, type, now));
  map.setDemand([demanded('nano', nano.amount, 1)]);
  const [bad, other] = [host('h-bad'), host('h-other')];
  const put = (): void => {
    for (const each of [bad, other]) map.set(each);
  };
  const fail = (): void => {
    book.report({ ...bad, kind: 'launch-failed', type: 'nano' }, now);
    put();
  };
  put();
  fail();
  assert.equal(book.fitness(bad, 'nano', now), 1, 'one report is no pattern');
  fail();
  assert.deepEqual(map.choose({ ...nano, max: 2 }), ['h-other', 'h-bad'], 'lowered: it comes last');
  const lowered = slotsOf(map, 'h-bad')?.actual[0]?.count ?? 0;
  assert.ok(lowered > 0 && lowered < 32, `fewer slots: ${lowered}`);
  fail();
  assert.deepEqual(map.choose({ ...nano, max: 2 }), ['h-other'], 'withdrawn there');
  assert.deepEqual(map.choose({ ...large, max: 2 }).sort(), ['h-bad', 'h-other'], 'other types go on');
  const [verdict] = explain(map, {
    ...nano,
    fitness: (facts, type) => book.fitness(facts, type, now),
    max: 5,
  }).filter(({ hostId }) => hostId === 'h-bad');
  assert.deepEqual([verdict?.fits, verdict?.fitness], [false, 0]);
  now = 5_000;
  put();
  assert.deepEqual(map.choose({ ...nano, max: 2 }).length, 2, 'it has decayed');
  book.prune(20_000);
  assert.equal(book.size, 0);
});

test('S4.4 pressure lowers every type on a host and never withdraws: a busy cell still launches', () => {
  const book = new AdverseBook();
  const busy = host('h-1');
  const { hostId, hostClass, running } = busy;
  for (let n = 0; n < 100; n++) book.report({ kind: 'steal', hostId, hostClass, running }, 0);
  assert.equal(book.fitness(busy, 'nano', 0), 0.25);
  assert.equal(book.fitness(host('h-2'), 'nano', 0), 1);
});

test('what fits where: how many more of each type, biggest first, and in the mix', () => {
  const map = new SlotMap();
  map.setDemand([demanded('nano', nano.amount, 0.8), demanded('large', large.amount, 0.2)]);
  map.set(host('h-1', { used: amount(3_000, 1_024) }));
  map.set(host('h-2'));
  map.set(host('h-shut', { open: false }));
  assert.deepEqual(capacityOf(map, [nano, large], all), [
    { type: 'nano', more: 52, hosts: 2, actual: 20, tiered: 4 },
    { type: 'large', more: 3, hosts: 2, actual: 2, tiered: 3 },
  ]);
});

test('why nothing fits: the nearest hosts first, and what each lacks', () => {
  const map = new SlotMap();
  map.set(host('h-far', { used: amount(8_000, 8_192) }));
  map.set(host('h-near', { used: amount(0, 5_120) }));
  map.set(host('h-shut', { open: false }));
  const verdicts = explain(map, { ...large, fitness: all, max: 10 });
  assert.deepEqual(
    verdicts.map(({ hostId, lacks, closed }) => [hostId, lacks.map(({ dimension }) => dimension), closed]),
    [
      ['h-near', ['memoryMib'], false],
      ['h-far', ['vcpusMilli', 'memoryMib'], false],
      ['h-shut', [], true],
    ],
  );
  assert.deepEqual(verdicts[0]?.lacks, [{ dimension: 'memoryMib', free: 3_072, asked: 4_096 }]);
});

test('whatever happened to hosts, exactly those that have room are found', () => {
  const change = fc.record({
    at: fc.nat(30),
    vcpus: fc.integer({ min: 0, max: 9_000 }),
    memory: fc.integer({ min: 0, max: 9_000 }),
    open: fc.boolean(),
    gone: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 80 }), fc.boolean(), (changes, shift) => {
      const map = new SlotMap();
      map.setDemand([demanded('nano', nano.amount, 0.7), demanded('large', large.amount, 0.3)]);
      const there = new Map<string, ReturnType<typeof host>>();
      for (const [n, { at, vcpus, memory, open, gone }] of changes.entries()) {
        const id = `h-${at}`;
        const facts = host(id, { used: amount(vcpus, memory), open });
        if (gone) {
          there.delete(id);
          map.delete(id);
        } else {
          there.set(id, facts);
          map.set(facts);
        }
        if (shift && n === 20) map.setDemand([demanded('large', large.amount, 1)]);
        if (n % 7 === 0) map.rescore(5);
      }
      for (const wanted of [nano, large, { type: 'odd', amount: amount(3_000, 300) }]) {
        const found = map.choose({ ...wanted, max: 1_000 }).sort();
        const expected = [...there.values()]
          .filter((each) => each.open && fits(map.free(each.hostId) ?? each.limit, wanted.amount))
          .map(({ hostId }) => hostId)
          .sort();
        assert.deepEqual(found, expected);
      }
    }),
    { numRuns: 300 },
  );
});
