/** Slots of one host: the best mix, what could be made instead, and what goes when one is taken. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Amount, clamped, countOf, dimensionNames, fits, minus, plus } from '#slots/amount.ts';
import type { DemandedType } from '#slots/demand.ts';
import { determine, freeOf, type Mix, refill, returned } from '#slots/mix.ts';
import { overlap, potentialOf, potentialSlots, takePotential, takeSlot } from '#slots/potential.ts';
import { amount, demanded } from './support.ts';

const small = demanded('small', amount(500, 512, 1_000, 10), 0.75);
const big = demanded('big', amount(4_000, 4_096, 1_000, 80), 0.25);

test('the best mix has slots of several types, by their share of demand', () => {
  const mix = determine(amount(16_000, 16_384, 100_000, 10_000), [small, big]);
  assert.deepEqual(mix.counts, [8, 3]);
  assert.deepEqual(mix.remainder, amount(0, 0, 100_000 - 11_000, 10_000 - 320));
});

test('another demand is another mix; without any there is none', () => {
  const free = amount(16_000, 16_384, 100_000, 10_000);
  const shifted = determine(free, [
    { ...big, weight: 0.9 },
    { ...small, weight: 0.1 },
  ]);
  assert.deepEqual(shifted.counts, [4, 0]);
  assert.deepEqual(
    determine(free, [{ ...small, weight: 1 }]).counts,
    [32],
    'what nobody asks for takes nobody’s room',
  );
  assert.deepEqual(determine(free, []).counts, []);
});

test('a VM that ends merges its neighbours into bigger slots', () => {
  const equally = [small, big].map((each) => ({ ...each, weight: 0.5 }));
  const full = determine(amount(3_500, 3_584, 100_000, 10_000), equally);
  assert.deepEqual(full.counts, [7, 0], 'no room for a big one');
  assert.deepEqual(returned(full, small.amount).counts, [0, 1]);
});

test('a type that did badly gets no more slots than it may', () => {
  const free = amount(16_000, 16_384, 100_000, 10_000);
  const limited = determine(free, [small, big], (type) => (type === 'small' ? 2 : Number.POSITIVE_INFINITY));
  assert.deepEqual(limited.counts, [2, 3]);
  assert.deepEqual(determine(free, [small, big], () => 0).counts, [0, 0]);
});

test('a potential slot is made of what is least asked for, and of no more than it needs', () => {
  const free = amount(4_096, 4_096, 100_000, 10_000);
  const mix: Mix = { types: [small, big], counts: [8, 0], remainder: minus(free, small.amount, 8) };
  const slot = potentialOf(mix, 'big', big.amount);
  assert.deepEqual(slot?.pieces, [8, 0]);
  const medium = potentialOf(mix, 'medium', amount(1_000, 1_024, 1_000, 20));
  assert.deepEqual(medium?.pieces, [2, 0]);
  assert.equal(potentialOf(mix, 'giant', amount(5_000, 1_024)), undefined);
});

const sized = fc
  .record({
    vcpusMilli: fc.integer({ min: 50, max: 4_000 }),
    memoryMib: fc.integer({ min: 64, max: 4_096 }),
    diskMib: fc.integer({ min: 1, max: 20_000 }),
    networkMbps: fc.integer({ min: 0, max: 500 }),
  })
  .map((each): Amount => each);
const frees = fc.record({
  vcpusMilli: fc.integer({ min: -500, max: 32_000 }),
  memoryMib: fc.integer({ min: -500, max: 32_000 }),
  diskMib: fc.integer({ min: -500, max: 100_000 }),
  networkMbps: fc.oneof(fc.integer({ min: 0, max: 4_000 }), fc.constant(Number.POSITIVE_INFINITY)),
});
const demands = fc
  .array(fc.record({ amount: sized, weight: fc.integer({ min: 1, max: 100 }) }), {
    minLength: 1,
    maxLength: 6,
  })
  .map((all): DemandedType[] => {
    const sum = all.reduce((total, { weight }) => total + weight, 0);
    return all
      .map((each, at) => ({ type: `t${at}`, amount: each.amount, weight: each.weight / sum }))
      .sort((a, b) => b.weight - a.weight);
  });

const slotsAmount = (mix: Mix): Amount => minus(freeOf({ ...mix }), mix.remainder);
const assertWithin = (mix: Mix, free: Amount): void => {
  const together = mix.types.reduce(
    (sum, { amount: each }, at) => plus(sum, each, mix.counts[at] ?? 0),
    amount(0, 0),
  );
  for (const dimension of dimensionNames) {
    assert.ok(
      together[dimension] <= free[dimension],
      `${dimension} of all actual slots is within what is free`,
    );
    assert.ok(mix.remainder[dimension] >= 0, `${dimension} of the remainder is not negative`);
  }
  assert.ok(mix.counts.every((count) => count >= 0));
};

test('S4.3 actual slots never exceed capacity, and nothing more would fit', () => {
  fc.assert(
    fc.property(frees, demands, (vector, types) => {
      const free = clamped(vector);
      const mix = determine(vector, types);
      assertWithin(mix, free);
      for (const { amount: each } of types) assert.equal(countOf(mix.remainder, each), 0, 'the mix is full');
    }),
    { numRuns: 2_000 },
  );
});

test('S4.3 a taken slot withdraws exactly those that it overlaps, and the others can still be taken', () => {
  fc.assert(
    fc.property(frees, demands, fc.nat(), (vector, types, pick) => {
      const mix = determine(vector, types);
      const slots = potentialSlots(mix);
      const slot = slots[pick % Math.max(1, slots.length)];
      if (slot === undefined) return;
      const { mix: left, withdrawn } = takePotential(mix, slot);
      // Of actual slots exactly its pieces went.
      assert.deepEqual(
        left.counts,
        mix.counts.map((count, at) => count - (slot.pieces[at] ?? 0)),
      );
      assert.deepEqual(withdrawn, slot.pieces);
      assertWithin(left, minus(clamped(vector), slot.amount));
      // No piece is needless.
      for (const [at, n] of slot.pieces.entries())
        if (n > 0) {
          const without = minus(mix.remainder, amount(0, 0));
          const rest = slot.pieces.reduce(
            (sum, count, each) =>
              plus(sum, mix.types[each]?.amount ?? amount(0, 0), count - (each === at ? 1 : 0)),
            without,
          );
          assert.ok(!fits(rest, slot.amount), 'it could not be made with one piece less');
        }
      // Of the other potential slots those that do not overlap it can be taken still.
      for (const other of slots)
        if (other !== slot && !overlap(mix, slot, other)) {
          assert.ok(other.pieces.every((n, at) => n <= (left.counts[at] ?? 0)));
          assert.ok(fits(left.remainder, other.rest));
        }
    }),
    { numRuns: 3_000 },
  );
});

test('taking and giving back slots, in any order, keeps the sum; refilling adds and takes nothing away', () => {
  const step = fc.record({ type: fc.nat(5), give: fc.boolean() });
  fc.assert(
    fc.property(frees, demands, fc.array(step, { maxLength: 30 }), (vector, types, steps) => {
      let mix = determine(vector, types);
      const total = freeOf(mix);
      const taken: Amount[] = [];
      for (const { type, give } of steps) {
        const wanted = types[type % types.length];
        if (give) {
          const back = taken.pop();
          if (back !== undefined) mix = returned(mix, back);
        } else if (wanted !== undefined) {
          const result = takeSlot(mix, wanted.type, wanted.amount);
          assert.equal(result === undefined, !fits(freeOf(mix), wanted.amount), 'what fits can be taken');
          if (result === undefined) continue;
          taken.push(wanted.amount);
          mix = refill(result.mix);
          assert.ok(mix.counts.every((count, at) => count >= (result.mix.counts[at] ?? 0)));
        }
        const together = taken.reduce((sum, each) => plus(sum, each), freeOf(mix));
        for (const dimension of dimensionNames)
          if (Number.isFinite(total[dimension]))
            assert.equal(together[dimension], total[dimension], dimension);
        assert.ok(fits(freeOf(mix), slotsAmount({ ...mix, remainder: amount(0, 0) })));
      }
    }),
    { numRuns: 1_000 },
  );
});
