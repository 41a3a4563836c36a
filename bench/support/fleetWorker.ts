/** A cell's processor and its cards in a thread of their own, as they are processes of their own: the region is not slowed by their work. */
import { parentPort, workerData } from 'node:worker_threads';
import { NetworkFleet } from '../../test/region/network-fleet.ts';

/** A card had done what it was told of a VPC. */
export interface Obeyed {
  readonly card: number;
  readonly vpcIds: readonly string[];
  /** Nanoseconds of the machine's monotonic clock. */
  readonly at: bigint;
}

export interface FleetAnswer {
  readonly id: number;
  readonly answer?: string | undefined;
  readonly error?: string;
  readonly obeyed: readonly Obeyed[];
}

const fleet = new NetworkFleet(workerData.cards, false);
let obeyed: Obeyed[] = [];
fleet.obeyed = (card, vpcIds) => {
  obeyed.push({ card, vpcIds, at: process.hrtime.bigint() });
};

parentPort?.on('message', async ({ id, method, params }: { id: number; method: string; params: string }) => {
  const call = fleet.stream.call as unknown as (method: string, params: unknown) => Promise<unknown>;
  const outcome = await call(method, JSON.parse(params)).then(
    (value) => ({ answer: JSON.stringify(value) }),
    (error: unknown) => ({ error: String(error) }),
  );
  parentPort?.postMessage({ id, ...outcome, obeyed } satisfies FleetAnswer);
  obeyed = [];
});
