/** The other side of fleetWorker.ts. */
import { Worker } from 'node:worker_threads';
import type { PushStream } from '#region/devices.ts';
import type { FleetAnswer, Obeyed } from './fleetWorker.ts';

export interface FleetThread {
  readonly stream: PushStream<never>;
  /** What cards have done; emptied by who reads it. */
  readonly obeyed: Obeyed[];
  close(): Promise<unknown>;
}

export const startFleet = (cards: number): FleetThread => {
  const worker = new Worker(new URL('./fleetWorker.ts', import.meta.url), { workerData: { cards } });
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  const obeyed: Obeyed[] = [];
  let last = 0;
  worker.on('message', ({ id, answer, error, obeyed: times }: FleetAnswer) => {
    obeyed.push(...times);
    const waiter = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) waiter?.resolve(answer === undefined ? undefined : JSON.parse(answer));
    else waiter?.reject(new Error(error));
  });
  const call = (method: string, params: unknown): Promise<unknown> =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      worker.postMessage({ id: last, method, params: JSON.stringify(params) });
    });
  return {
    stream: { closed: false, call } as unknown as PushStream<never>,
    obeyed,
    close: () => worker.terminate(),
  };
};
