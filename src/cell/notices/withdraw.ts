/** An offer gives way to one in another zone for the same wish; its request waits on in its old place, and is offered nothing meanwhile. */
import type { CellServices } from '../services.ts';
import { findRequest, lockQueue, setRequest } from '../store/capacity-requests.ts';
import { lockHosts } from '../store/hosts.ts';
import { isOffered, setWaitsFor, withdrawable } from '../store/wish-offers.ts';
import { hostsOf } from './parts.ts';
import type { CapacityQueue } from './queue.ts';

interface Needs {
  readonly services: Pick<CellServices, 'db' | 'faults'>;
  readonly queue: CapacityQueue;
  /** Told when events were written. */
  told(): void;
}

/** Under the queue's lock: of an offer that is claimed and one that is withdrawn at the same instant exactly one happens. */
export const withdraw = async (
  { services: { db, faults }, queue, told }: Needs,
  requestId: string,
  by: { readonly offerId: string; readonly requestId: string },
): Promise<void> => {
  await db.transaction(async (tx) => {
    const { elapsed_ms: nowMs } = await lockQueue(tx);
    const request = await findRequest(tx, requestId);
    if (request?.state !== 'waiting' && request?.state !== 'offered') return;
    const offers = await withdrawable(tx, requestId);
    await lockHosts(
      tx,
      await hostsOf(
        tx,
        offers.map(({ id }) => id),
      ),
    );
    await setWaitsFor(tx, requestId, by.offerId);
    for (const offer of offers) await queue.giveBack(tx, offer, 'given-back');
    await faults.hit('companions.gaveBack');
    // One that the region has not heard of yet stands until it has.
    if (!(await isOffered(tx, requestId))) await setRequest(tx, requestId, { state: 'waiting' });
    for (const offer of offers.filter(({ state }) => state === 'open'))
      await queue.tell({ tx, nowMs }, request, {
        ...{
          kind: 'capacity.withdrawn',
          state: 'waiting',
          offer: { ...offer, state: 'given-back' as const },
        },
        message: `Your request ${by.requestId}, for the same in another zone, is offered ${by.offerId}, which goes before this: the request waits on, in its old place, until that is over.`,
      });
  });
  await faults.hit('companions.withdrawn');
  told();
  queue.hint();
};

/** Nothing is offered elsewhere any more. */
export const release = async ({ services, queue }: Needs, requestId: string): Promise<void> => {
  await setWaitsFor(services.db, requestId, null);
  queue.hint();
};
