/** Distances, plausibility, trust order, cells and the kept index (S9.4, S9.6, S9.7). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cellCenter, coarseCell, coarseRadiusM } from '#payments/location/cells.ts';
import { distanceM, moved } from '#payments/location/geodesic.ts';
import { NearbyIndex } from '#payments/location/nearby-index.ts';
import { leastSpeedMps, plausible } from '#payments/location/plausible.ts';
import { believedRadiusM, mostTrusted, trustOrder } from '#payments/location/sources.ts';
import { seeded } from '#payments/simulation/random.ts';

const latitude = fc.double({ min: -90, max: 90, noNaN: true });
const longitude = fc.double({ min: -180, max: 180, noNaN: true });
const position = fc.record({ latitude, longitude });

test('distances are right across the date line, at the poles and by known lines', () => {
  const across = distanceM({ latitude: 0, longitude: 179.9995 }, { latitude: 0, longitude: -179.9995 });
  assert.ok(Math.abs(across - 111.32) < 0.01, `${across}`);
  assert.equal(distanceM({ latitude: 90, longitude: 12 }, { latitude: 90, longitude: -168 }), 0);
  // A degree of latitude is longer at the pole than at the equator: the earth is no sphere.
  const atEquator = distanceM({ latitude: 0, longitude: 0 }, { latitude: 1, longitude: 0 });
  const atPole = distanceM({ latitude: 89, longitude: 0 }, { latitude: 90, longitude: 0 });
  assert.ok(
    Math.abs(atEquator - 110_574.4) < 0.1 && Math.abs(atPole - 111_693.9) < 0.1,
    `${atEquator} ${atPole}`,
  );
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 91])
    assert.throws(
      () => distanceM({ latitude: bad, longitude: 0 }, { latitude: 0, longitude: 0 }),
      RangeError,
    );
});

test('a place that was moved by a distance is that far away', () => {
  fc.assert(
    fc.property(
      position,
      fc.double({ min: 0, max: 360, noNaN: true }),
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      (from, azimuth, metres) => {
        assert.ok(Math.abs(distanceM(from, moved(from, azimuth, metres)) - metres) < 1e-3);
      },
    ),
  );
});

test('a speed that nobody travels at is noticed, with both radii in the traveller’s favour', () => {
  const home = { latitude: 48.1, longitude: 11.5 };
  const fix = (metres: number, seconds: number, radiusM = 10) => ({
    position: moved(home, 90, metres),
    radiusM,
    atMs: seconds * 1000,
  });
  assert.deepEqual(plausible(undefined, fix(0, 0)), { plausible: true });
  assert.deepEqual(plausible(fix(0, 0), fix(900, 10)), { plausible: true }, 'a train');
  const teleport = plausible(fix(0, 0), fix(50_000, 60));
  assert.ok(!teleport.plausible && teleport.why === 'speed');
  assert.deepEqual(plausible(fix(0, 0), fix(500_000, 2_400)), { plausible: true }, 'a flight, after a gap');
  assert.equal(plausible(fix(0, 0), fix(1_000_000, 2_400)).plausible, false);
  assert.equal(plausible(fix(0, 0), fix(5_000, 1, 5_000)).plausible, true, 'inaccurate fixes prove nothing');
  const back = plausible(fix(0, 10), fix(0, 9));
  assert.ok(!back.plausible && back.why === 'backdated');
  assert.equal(leastSpeedMps(fix(0, 5), fix(100, 5)), Number.POSITIVE_INFINITY, 'two places at one moment');
});

test('the most trusted source counts, and no source is believed to be more accurate than it can be', () => {
  assert.deepEqual(trustOrder, ['registered', 'carrier', 'gnss', 'wifi', 'fused', 'cell']);
  const fix = (source: 'gnss' | 'wifi' | 'cell', accuracyM: number, at: number) => ({
    source,
    accuracyM,
    at,
  });
  assert.equal(
    mostTrusted([fix('cell', 1, 100), fix('gnss', 30, 90), fix('wifi', 5, 100)], 60)?.source,
    'gnss',
  );
  assert.equal(
    mostTrusted([fix('cell', 1, 100), fix('gnss', 30, 10)], 60)?.source,
    'cell',
    'an old fix does not count',
  );
  assert.equal(mostTrusted([], 60), undefined);
  for (const source of trustOrder) assert.ok(believedRadiusM(source, 0.001) >= 3);
});

test('a coarse cell holds its places within its radius, anywhere on earth', () => {
  fc.assert(
    fc.property(position, (place) => {
      assert.ok(distanceM(place, cellCenter(coarseCell(place))) <= coarseRadiusM);
    }),
    { numRuns: 1_000 },
  );
});

test('the kept index finds what looking at every device finds, as devices come, move and go', () => {
  const near = fc.record({
    latitude: fc.oneof(
      fc.double({ min: 89.9, max: 90, noNaN: true }),
      fc.double({ min: -1, max: 1, noNaN: true }),
    ),
    longitude: fc.oneof(
      fc.double({ min: 179.9, max: 180, noNaN: true }),
      fc.double({ min: -180, max: -179.9, noNaN: true }),
    ),
  });
  const command = fc.oneof(
    { weight: 6, arbitrary: fc.record({ op: fc.constant('set' as const), id: fc.nat(40), at: near }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('delete' as const), id: fc.nat(40) }) },
  );
  fc.assert(
    fc.property(
      fc.array(command, { maxLength: 80 }),
      near,
      fc.integer({ min: 100, max: 50_000 }),
      (commands, center, radiusM) => {
        const index = new NearbyIndex();
        const model = new Map<string, { latitude: number; longitude: number }>();
        for (const each of commands) {
          if (each.op === 'delete') {
            index.delete(`${each.id}`);
            model.delete(`${each.id}`);
          } else {
            index.set(`${each.id}`, each.at);
            model.set(`${each.id}`, each.at);
          }
        }
        assert.equal(index.size, model.size);
        // The index measures on the sphere: what lies within 1 % of the circle's edge may be either in or out.
        const found = new Set(index.within(center, radiusM, 100).map((each) => each.id));
        for (const [id, at] of model) {
          const apart = distanceM(center, at);
          if (apart < radiusM * 0.99) assert.ok(found.has(id), `${id} at ${apart} m is missing`);
          if (apart > radiusM * 1.01) assert.ok(!found.has(id), `${id} at ${apart} m is too far`);
        }
        for (const id of found) assert.ok(model.has(id));
      },
    ),
  );
});

test('of a crowd the nearest come first and no more than asked for, whether in one place, at a pole or across the date line', () => {
  const next = seeded(5);
  for (const middle of [
    { latitude: 48.1, longitude: 11.5 },
    { latitude: -89.9999, longitude: 40 },
    { latitude: 0.0001, longitude: -179.9999 },
  ]) {
    const index = new NearbyIndex();
    const everywhere = new Map<string, { latitude: number; longitude: number }>();
    // More than the index has room for at first, so that it grows with what is in it.
    for (let at = 0; at < 5_000; at += 1) {
      const place = moved(middle, next() * 360, next() ** 2 * 3_000);
      everywhere.set(`d${at}`, place);
      index.set(`d${at}`, moved(middle, next() * 360, 100));
      index.set(`d${at}`, place);
    }
    for (const radiusM of [0, 30, 400, 5_000]) {
      const center = moved(middle, next() * 360, 200);
      const distances = [...everywhere.values()]
        .map((place) => distanceM(center, place))
        .sort((a, b) => a - b);
      const found = index.within(center, radiusM, 50);
      const expected = distances.filter((each) => each <= radiusM).slice(0, 50);
      assert.ok(Math.abs(found.length - expected.length) <= 1, `${found.length} of ${expected.length}`);
      // On the sphere, and not on the ellipsoid: two that are nearly as far away may change places.
      for (const [at, each] of found.entries())
        assert.ok(Math.abs(each.distanceM - (distances[at] ?? Number.NaN)) <= 0.006 * each.distanceM + 1e-3);
      assert.deepEqual(
        found.map((each) => each.distanceM),
        found.map((each) => each.distanceM).sort((a, b) => a - b),
      );
    }
  }
});

test('the index refuses what is no place and keeps where the device was', () => {
  const index = new NearbyIndex();
  const home = { latitude: 1, longitude: 2 };
  index.set('a', home);
  for (const bad of [{ latitude: Number.NaN }, { latitude: 91 }, { longitude: 181 }])
    assert.throws(() => index.set('a', { ...home, ...bad }), RangeError);
  assert.deepEqual(
    index.within(home, 1, 10).map((each) => each.id),
    ['a'],
  );
  assert.deepEqual(index.within(home, 1, 0), []);
});
