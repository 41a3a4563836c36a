/** The rules of the queue by themselves: no more is promised than is free, no stampede, order, and no starvation. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decide, type Option, type Part, queueRules, type Waiting } from '#cell/notices/decide.ts';
import { type Amount, clamped, dimensionNames, fits, minus, nothing, plus } from '#slots/amount.ts';
import { seeded } from '../../slots/support.ts';

const amountOf = (vcpus: number): Amount => ({
  vcpusMilli: 1_000 * vcpus,
  memoryMib: 512 * vcpus,
  diskMib: 1_024,
  networkMbps: 128,
});
const option = (vcpus: number, count = 1): Option => ({ type: `t${vcpus}`, count, amount: amountOf(vcpus) });
const limit: Amount = { vcpusMilli: 8_000, memoryMib: 4_096, diskMib: 100_000, networkMbps: 10_000 };

const waitingArbitrary = fc
  .array(
    fc.record({
      mode: fc.constantFrom('reserve' as const, 'race' as const),
      options: fc.array(
        fc.record({ vcpus: fc.constantFrom(1, 2, 4, 8), count: fc.integer({ min: 1, max: 4 }) }),
        { minLength: 1, maxLength: 3 },
      ),
      passedOver: fc.integer({ min: 0, max: 10 }),
    }),
    { maxLength: 40 },
  )
  .map((all) =>
    all.map(
      ({ mode, options, passedOver }, at): Waiting => ({
        ...{ id: `r${at}`, position: at, mode, passedOver },
        options: options.map(({ vcpus, count }) => option(vcpus, count)),
      }),
    ),
  );
const hostsArbitrary = fc.array(fc.integer({ min: 0, max: 8 }), { maxLength: 6 }).map((all) =>
  all.map((vcpus, at) => ({
    ...{ hostId: `h${at}`, limit },
    free: { ...limit, vcpusMilli: vcpus * 1_000, memoryMib: vcpus * 512 },
  })),
);

test('what is decided fits into what is free, and no more than k × factor are told', () => {
  fc.assert(
    fc.property(waitingArbitrary, hostsArbitrary, (waiting, hosts) => {
      const { decisions } = decide({ waiting, hosts, racing: new Map() });
      assert.ok(decisions.length <= queueRules.offersMax);
      const free = new Map(hosts.map((host) => [host.hostId, host.free]));
      const told = new Map<string, number>();
      for (const decision of decisions) {
        const own = waiting.find(({ id }) => id === decision.id);
        assert.ok(own);
        const parts: Part[] =
          decision.kind === 'accumulate'
            ? [...decision.parts]
            : decision.hostIds.map((hostId, part) => ({
                ...{ part, hostId },
                amount: own.options[decision.option]?.amount ?? nothing,
              }));
        for (const { hostId, amount } of parts) {
          const left = free.get(hostId) ?? nothing;
          assert.ok(fits(left, amount), `${hostId} has room`);
          free.set(hostId, minus(left, amount));
        }
        if (decision.kind === 'offer') {
          const chosen = own.options[decision.option];
          assert.equal(decision.hostIds.length, own.mode === 'race' ? 0 : chosen?.count);
          if (own.mode === 'race' && chosen !== undefined)
            told.set(chosen.type, (told.get(chosen.type) ?? 0) + chosen.count);
        }
      }
      for (const [type, n] of told) {
        const { amount } = option(Number(type.slice(1)));
        const k = hosts.reduce((sum, host) => sum + Math.floor(host.free.vcpusMilli / amount.vcpusMilli), 0);
        assert.ok(n <= k * queueRules.toldFactor, `${n} told of ${type}, ${k} free`);
      }
      assert.ok([...free.values()].every((left) => dimensionNames.every((name) => left[name] >= 0)));
    }),
    { numRuns: 500 },
  );
});

test('within a class nobody is served before who is ahead', () => {
  fc.assert(
    fc.property(waitingArbitrary, hostsArbitrary, (waiting, hosts) => {
      const { decisions } = decide({ waiting, hosts, racing: new Map() });
      const served = new Set(decisions.map(({ id }) => id));
      const first = decisions.find(({ kind }) => kind === 'accumulate')?.id;
      const same = (a: Waiting): string => JSON.stringify([a.mode, a.options]);
      for (const later of waiting.filter(({ id }) => served.has(id) && id !== first))
        for (const ahead of waiting)
          if (ahead.position < later.position && same(ahead) === same(later))
            assert.ok(served.has(ahead.id), `${ahead.id} is ahead of ${later.id}`);
    }),
    { numRuns: 500 },
  );
});

test('the original wins when both are there; an alternative is offered where it is not', () => {
  const one: Waiting = {
    id: 'r',
    position: 1,
    mode: 'reserve',
    passedOver: 0,
    options: [option(4), option(2)],
  };
  const of = (vcpus: number) =>
    decide({
      waiting: [one],
      hosts: [{ hostId: 'h', limit, free: { ...limit, vcpusMilli: vcpus * 1_000 } }],
      racing: new Map(),
    }).decisions.map((decision) => decision.kind === 'offer' && decision.option);
  assert.deepEqual(of(8), [0]);
  assert.deepEqual(of(3), [1]);
  assert.deepEqual(of(1), []);
});

test('those who were told of a slot that is still there are no reason to tell others of it', () => {
  const racer = (n: number): Waiting => ({
    ...{ id: `r${n}`, position: n, mode: 'race', passedOver: 0, options: [option(4)] },
  });
  const waiting = Array.from({ length: 10 }, (_, n) => racer(n));
  const hosts = [{ hostId: 'h', limit, free: { ...limit, vcpusMilli: 4_000 } }];
  assert.equal(decide({ waiting, hosts, racing: new Map() }).decisions.length, 2);
  assert.equal(decide({ waiting, hosts, racing: new Map([['t4', 2]]) }).decisions.length, 0);
  assert.equal(decide({ waiting, hosts, racing: new Map([['t4', 1]]) }).decisions.length, 1);
});

test('10,000 subscribers, one slot freed: one holder, and all others wait', (t) => {
  const waiting: Waiting[] = Array.from({ length: 10_000 }, (_, n) => ({
    ...{ id: `r${n}`, position: n, mode: 'reserve', passedOver: 0, options: [option(1)] },
  }));
  const hosts = Array.from({ length: 100 }, (_, n) => ({ hostId: `h${n}`, limit, free: nothing }));
  hosts[42] = { hostId: 'h42', limit, free: amountOf(1) };
  const { decisions, passedOver } = decide({ waiting, hosts, racing: new Map() });
  assert.deepEqual(decisions, [{ kind: 'offer', id: 'r0', option: 0, hostIds: ['h42'] }]);
  assert.deepEqual(passedOver, []);
  t.diagnostic('10,000 wait, 1 slot: 1 told, 9,999 wait on');
});

/** A cell in time: small VMs end at random, a flood of small requests takes what becomes free, and one big request waits. */
const flood = (seed: number, hostsN: number, big: Option): { steps: number; servedSmall: number } => {
  const random = seeded(seed);
  const small = option(1);
  const lifeMax = 100;
  const free = new Map<string, Amount>();
  const ends: { hostId: string; at: number; amount: Amount }[] = [];
  for (let n = 0; n < hostsN; n++) {
    free.set(`h${n}`, nothing);
    for (let vm = 0; vm < 8; vm++)
      ends.push({ hostId: `h${n}`, at: 1 + Math.floor(random() * lifeMax), amount: amountOf(1) });
  }
  let next = 1;
  let bigOne: Waiting = { id: 'big', position: 0, mode: 'reserve', passedOver: 0, options: [big] };
  let parts: readonly Part[] | undefined;
  let smalls: Waiting[] = [];
  let servedSmall = 0;
  const change = (hostId: string, amount: Amount): void => {
    free.set(hostId, plus(free.get(hostId) ?? nothing, amount));
  };
  for (let step = 1; step < 3_000; step++) {
    for (const vm of ends.filter(({ at }) => at === step)) change(vm.hostId, vm.amount);
    // Always more small ones than there will ever be room for.
    while (smalls.length < 20)
      smalls.push({ id: `s${next}`, position: next++, mode: 'reserve', passedOver: 0, options: [small] });
    for (;;) {
      const hosts = [...free].map(([hostId, left]) => ({ hostId, limit, free: left }));
      const waiting = [{ ...bigOne, ...(parts === undefined ? {} : { parts }) }, ...smalls];
      const { decisions, passedOver } = decide({ waiting, hosts, racing: new Map() });
      if (passedOver.includes('big')) bigOne = { ...bigOne, passedOver: bigOne.passedOver + 1 };
      for (const decision of decisions) {
        if (decision.kind === 'accumulate') {
          for (const part of parts ?? []) change(part.hostId, part.amount);
          for (const part of decision.parts) change(part.hostId, minus(nothing, part.amount));
          parts = decision.parts;
          if (decision.whole) return { steps: step, servedSmall };
          continue;
        }
        if (decision.id === 'big') return { steps: step, servedSmall };
        servedSmall += 1;
        smalls = smalls.filter(({ id }) => id !== decision.id);
        for (const hostId of decision.hostIds) {
          change(hostId, minus(nothing, small.amount));
          ends.push({ hostId, at: step + 1 + Math.floor(random() * lifeMax), amount: small.amount });
        }
      }
      assert.ok(
        [...free.values()].every((left) => clamped(left).vcpusMilli === left.vcpusMilli),
        'never less than nothing',
      );
      if (decisions.length === 0) break;
    }
  }
  return { steps: Number.POSITIVE_INFINITY, servedSmall };
};

test('a big request under a flood of small ones is served within two lives of a small VM', (t) => {
  const bound = 2 * 100;
  const cases: readonly (readonly [string, number, Option])[] = [
    ['one that takes a whole host of 8', 4, option(8)],
    ['one that takes half a host', 20, option(4)],
    ['twelve of 4 vCPUs at once', 10, option(4, 12)],
  ];
  for (const [name, hosts, big] of cases) {
    const all = Array.from({ length: 8 }, (_, seed) => flood(seed + 1, hosts, big));
    const worst = Math.max(...all.map(({ steps }) => steps));
    const parts = Math.ceil(big.count / queueRules.partialHostsMax);
    const allowed = bound * parts;
    t.diagnostic(
      `${name}, ${hosts} hosts: served after at most ${worst} steps of 8 runs (bound ${allowed}; a small VM lives up to 100)`,
    );
    assert.ok(worst <= allowed, `${name}: ${worst}`);
    assert.ok(
      all.every(({ servedSmall }) => servedSmall > 0),
      'small ones go on being served',
    );
  }
});

test('one accumulates at a time; parts on a host that has gone are given back', () => {
  const waiting: Waiting[] = [0, 1].map((n) => ({
    ...{
      id: `r${n}`,
      position: n,
      mode: 'reserve',
      passedOver: queueRules.passedOverMax,
      options: [option(8)],
    },
  }));
  const hosts = ['a', 'b'].map((hostId) => ({ hostId, limit, free: { ...limit, vcpusMilli: 3_000 } }));
  const { decisions } = decide({ waiting, hosts, racing: new Map() });
  assert.deepEqual(
    decisions.map(({ kind, id }) => `${kind} ${id}`),
    ['accumulate r0'],
  );
  const [first] = decisions;
  assert.ok(first?.kind === 'accumulate' && !first.whole);
  assert.equal(first.parts[0]?.amount.vcpusMilli, 3_000);
  const gone = decide({
    waiting: waiting.map((one) => (one.id === 'r0' ? { ...one, parts: first.parts } : one)),
    hosts: hosts.filter(({ hostId }) => hostId !== first.parts[0]?.hostId),
    racing: new Map(),
  });
  const [moved] = gone.decisions;
  assert.ok(moved?.kind === 'accumulate');
  assert.ok(moved.parts.every(({ hostId }) => hostId !== first.parts[0]?.hostId));
});
