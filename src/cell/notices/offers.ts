/**
 * Launching with an offer. All of it is in the launch's own transaction, under the queue's lock: of an offer that runs out and one that
 * is claimed at the same instant exactly one happens, and what is offered goes from the offer to the instances without being free between.
 */
import { PandoError } from '#contracts/errors.ts';
import { notFound } from '#contracts/ids.ts';
import type { Amount } from '#slots/amount.ts';
import type { CellServices } from '../services.ts';
import {
  findOffer,
  findRequest,
  lockQueue,
  type OfferRow,
  offersOf,
  type RequestRow,
  setOffer,
  setRequest,
} from '../store/capacity-requests.ts';
import { lockHosts } from '../store/hosts.ts';
import type { Sql } from '../store/sql.ts';
import { partsOf, releaseParts } from './parts.ts';
import type { CapacityQueue } from './queue.ts';

export interface OfferedLaunch {
  readonly offerId: string;
  readonly accountId: string;
  readonly type: string;
  readonly max: number;
  readonly amount: Amount;
}

export interface TakenOffer {
  readonly offer: OfferRow;
  readonly request: RequestRow;
  /** Where its parts are reserved, once for each. None: it is a race. */
  readonly hostIds: readonly string[];
  readonly nowMs: number;
}

const badState = (message: string): PandoError => new PandoError('InvalidCapacityOfferState', message);

const checkOpen = ({ id, state, reservation_id: reservation }: OfferRow): void => {
  if (state === 'open') return;
  const of = reservation === null ? '' : ` by the reservation ${reservation}`;
  throw badState(
    `The capacity offer '${id}' is ${state}${of}: launch without it, or wait for the next offer of its request.`,
  );
};

const checkSize = (offer: OfferRow, request: RequestRow, launch: OfferedLaunch): void => {
  if (launch.type !== offer.type)
    throw badState(`The offer '${offer.id}' is for ${offer.type}, not for ${launch.type}.`);
  if (launch.max > offer.count)
    throw badState(`The offer '${offer.id}' is for ${offer.count} instances, not for ${launch.max}.`);
  const disk = request.options[offer.option]?.amount.diskMib ?? 0;
  if (launch.amount.diskMib > disk)
    throw badState(
      `The offer '${offer.id}' has ${disk} MiB of disk for each instance, and the launch wants ${launch.amount.diskMib}.`,
    );
};

export class Offers {
  readonly #services: CellServices;
  readonly #queue: CapacityQueue;
  /** Told when events were written. */
  readonly #told: () => void;

  constructor(options: { readonly services: CellServices; readonly queue: CapacityQueue; told(): void }) {
    this.#services = options.services;
    this.#queue = options.queue;
    this.#told = options.told;
  }

  /** The offer for this launch, under the queue's lock. @throws InvalidCapacityOffer.NotFound, InvalidCapacityOfferState */
  async find(tx: Sql, launch: OfferedLaunch): Promise<TakenOffer> {
    const { elapsed_ms: nowMs } = await lockQueue(tx);
    const offer = await findOffer(tx, launch.offerId);
    const request = offer === undefined ? undefined : await findRequest(tx, offer.request_id);
    if (offer === undefined || request === undefined || offer.account_id !== launch.accountId)
      throw notFound('capacityOffer', launch.offerId);
    checkOpen(offer);
    checkSize(offer, request, launch);
    await this.#services.faults.hit('offer.found');
    const parts = await partsOf(tx, offer.id);
    return { offer, request, hostIds: parts.map(({ hostId }) => hostId), nowMs };
  }

  /** Takes it: what it reserved is free to this transaction alone, which has its hosts' locks from here on. */
  async take(tx: Sql, { offer, hostIds }: TakenOffer): Promise<void> {
    await lockHosts(tx, hostIds);
    await releaseParts(tx, offer.id);
    await this.#services.faults.hit('offer.taken');
  }

  /** The launch has its places: the request is fulfilled, and what else was offered to it is given back. */
  async fulfil(tx: Sql, { offer, request, nowMs }: TakenOffer, reservationId: string): Promise<void> {
    await setOffer(tx, offer.id, { state: 'claimed', reservationId });
    for (const other of await offersOf(tx, [request.id]))
      if (other.state === 'open' || other.state === 'accumulating')
        await this.#queue.giveBack(tx, other, 'given-back');
    await setRequest(tx, request.id, { state: 'fulfilled' });
    const claimed = { ...offer, state: 'claimed' as const, reservation_id: reservationId };
    await this.#queue.tell({ tx, nowMs }, request, {
      ...{ kind: 'capacity.claimed', state: 'fulfilled', offer: claimed },
      message: `The offer was claimed by the reservation ${reservationId}.`,
    });
    await this.#services.faults.hit('offer.claimed');
  }

  /**
   * A launch with an offer found no room. One that was to race waits again, in its old place. Gives the error that its client is told.
   */
  async lost(offerId: string, accountId: string, error: PandoError): Promise<PandoError> {
    const requestId = await this.#services.db.transaction(async (tx) => {
      const { elapsed_ms: nowMs } = await lockQueue(tx);
      const offer = await findOffer(tx, offerId);
      if (offer === undefined || offer.account_id !== accountId || offer.state !== 'open') return undefined;
      const request = await findRequest(tx, offer.request_id);
      if (request === undefined || offer.mode !== 'race') return request?.id;
      await setOffer(tx, offer.id, { state: 'lost' });
      await setRequest(tx, request.id, { state: 'waiting' });
      await this.#queue.tell({ tx, nowMs }, request, {
        ...{ kind: 'capacity.lost', state: 'waiting', offer: { ...offer, state: 'lost' as const } },
        message: 'Others were faster: the request waits on, in its old place.',
      });
      await this.#services.faults.hit('offer.lost');
      return request.id;
    });
    this.#told();
    if (requestId === undefined) return error;
    return new PandoError(
      error.code,
      `${error.message} Your request ${requestId} waits on, in its old place.`,
      {
        cause: error,
        details: { pendingId: requestId },
      },
    );
  }

  /** After a commit. */
  told(): void {
    this.#told();
  }
}
