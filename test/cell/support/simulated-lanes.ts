/**
 * Cells beside each other on one PostgreSQL, each with hosts, a region and a survivor of its own. A case of the fault matrix mostly waits
 * for a lease to lapse, so several run at a time and none sees another.
 */
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { FaultMatrix, type Lanes, type Order } from './fault-matrix.ts';
import { type SimulatedGround, simulatedGround } from './simulated-ground.ts';

const lanesMax = 4;

export interface Lane {
  readonly ground: SimulatedGround;
  readonly matrix: FaultMatrix;
}

export class SimulatedLanes implements Lanes {
  readonly count = lanesMax;
  readonly #all: Lane[] = [];
  readonly #free: Lane[] = [];
  readonly #waiting: ((lane: Lane) => void)[] = [];
  #database: TestDatabase | undefined;

  async open(): Promise<void> {
    this.#database = await startTestDatabase();
    const shared = { url: this.#database.url, stop: async () => undefined };
    for (let made = 0; made < lanesMax; made++) {
      const ground = await simulatedGround(shared);
      this.#all.push({ ground, matrix: new FaultMatrix(ground) });
    }
    this.#free.push(...this.#all);
  }

  async close(): Promise<void> {
    for (const { ground } of this.#all) await ground.stop();
    await this.#database?.stop();
  }

  run(order: Order): Promise<void> {
    return this.use(({ matrix }) => matrix.runCase(order));
  }

  /** Does the work with a lane that nobody else has meanwhile. */
  async use<T>(work: (lane: Lane) => Promise<T>): Promise<T> {
    const lane = this.#free.pop() ?? (await new Promise<Lane>((taken) => this.#waiting.push(taken)));
    try {
      return await work(lane);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(lane);
      else next(lane);
    }
  }
}
