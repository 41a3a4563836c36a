/** I7 over ten thousand rollouts in a world that does everything wrong. A failure names its seed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Simulation } from './simulation.ts';

const simulations = Number(process.env.SIMULATIONS ?? 10_000);

test(`I7, S8.3, S8.5 ${simulations} simulated rollouts: never more devices changed than the policy allows, and all converge`, (t) => {
  const first = 1 + Math.floor(Math.random() * 1e9);
  let applied = 0;
  for (let seed = first; seed < first + simulations; seed += 1) {
    const simulation = new Simulation(seed);
    try {
      simulation.run();
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
    applied += simulation.applied;
  }
  t.diagnostic(`${applied} devices changed, from seed ${first}`);
  assert.ok(applied > simulations, 'the simulation changes devices');
});
