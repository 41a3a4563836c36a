/** The simulated town: the same seed gives the same figures, and the kept ones are of today's engine and hold what is claimed (S9.8). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { simulationFigures } from '#payments/operator/simulation.ts';
import { evaluateLiars } from '#payments/simulation/evaluate.ts';
import { plot } from '#payments/simulation/plot.ts';
import { figuresOf } from '#payments/simulation/run.ts';
import { makeTown, townSizeM } from '#payments/simulation/town.ts';

test('the same seed gives the same figures', () => {
  const once = figuresOf(400, 5, 4_000);
  assert.deepEqual(figuresOf(400, 5, 4_000).rows, once.rows);
  assert.notDeepEqual(figuresOf(400, 6, 4_000).rows, once.rows);
});

test('people sleep at home, work, and walk no faster than they can be followed', () => {
  const town = makeTown(200, 3);
  for (let person = 0; person < 200; person += 1) {
    assert.deepEqual(town.at(person, 100), town.at(person, 200));
    for (let minute = 0; minute < 1_440; minute += 1) {
      const [here, there] = [town.at(person, minute), town.at(person, minute + 1)];
      assert.ok(Math.hypot(here.x - there.x, here.y - there.y) < 60 * 60, 'a metre a second to sixty');
      assert.ok(here.x > -townSizeM && here.x < 2 * townSizeM);
    }
  }
});

test('a smaller town of today’s engine agrees with the kept figures, and false accepts are far below what is stated', () => {
  const kept = simulationFigures();
  assert.equal(kept.people, 10_000);
  const today = figuresOf(1_500, 11, 20_000).rows;
  for (const row of kept.rows) {
    assert.ok(row.falseAcceptRate <= 0.005, `${row.mix} at ${row.thresholdM} m: ${row.falseAcceptRate}`);
    const now = today.find((each) => each.mix === row.mix && each.thresholdM === row.thresholdM);
    assert.ok(
      now !== undefined && Math.abs(now.falseAcceptRate - row.falseAcceptRate) < 0.005,
      `${row.mix} at ${row.thresholdM} m`,
    );
  }
  assert.ok(plot(kept).includes('<polyline'));
  assert.ok(evaluateLiars(5_000, 1).withCarrier < 0.5);
});
