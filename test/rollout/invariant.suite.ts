/** Simulated rollouts from one seed on. A failure names its seed. */
import { Simulation } from './simulation.ts';

/** Runs `count` of them, or as many as fit until `untilMs`; answers how many, and how many devices changed. */
export const runSimulations = (
  count: number,
  untilMs: number,
  nowMs: () => number,
  firstSeed: number,
): { readonly done: number; readonly applied: number } => {
  let applied = 0;
  let done = 0;
  for (; done < count && nowMs() < untilMs; done += 1) {
    const simulation = new Simulation(firstSeed + done);
    try {
      simulation.run();
    } catch (error) {
      throw new Error(`seed ${firstSeed + done}`, { cause: error });
    }
    applied += simulation.applied;
  }
  return { done, applied };
};
