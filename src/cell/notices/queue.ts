/**
 * The queue of requests for capacity at work. One look is one transaction under the queue's lock: it reads who waits and what is free,
 * decides (decide.ts), makes claims, and writes the events of what it did. It comes when capacity was given back, whoever did that,
 * and once a second besides.
 */
import { createHash } from 'node:crypto';
import { Coalesced } from '#base/coalesced.ts';
import type { EventKind } from '#contracts/capacity.ts';
import { newCellId } from '#contracts/ids.ts';
import type { Placing } from '../capacity/placing.ts';
import { freeOf, limitOf } from '../capacity/view.ts';
import * as limits from '../limits.ts';
import type { CellServices } from '../services.ts';
import { type CapacityRow, readCapacity } from '../store/capacity.ts';
import type { NewEvent } from '../store/capacity-requests.ts';
import {
  countElapsed,
  insertEvent,
  insertOffer,
  lapsedOffers,
  lapsedRequests,
  liveOffers,
  lockQueue,
  nextPosition,
  type OfferRow,
  passOver,
  type RequestRow,
  readWaiting,
  setOffer,
  setRequest,
  whatIsDue,
} from '../store/capacity-requests.ts';
import { claimIdOf, releaseClaim, setClaim } from '../store/claims.ts';
import { lockHosts } from '../store/hosts.ts';
import type { Sql } from '../store/sql.ts';
import { isAtRest } from './at-rest.ts';
import { CellTime } from './cell-time.ts';
import { type Decision, decide, nothing, type Part, type QueueState, type Waiting } from './decide.ts';
import { hostsOf, type PartClaim, partsOf, releaseParts } from './parts.ts';
import { showOffer } from './show.ts';

export const classOf = (row: Pick<RequestRow, 'zone' | 'options'>): string => {
  const [original] = row.options;
  const text = `${row.zone} ${original?.type} ${original?.count} ${original?.amount.diskMib}`;
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
};

/** Something of a look that must be undone: the store did not take a part of the plan. */
class NotTaken extends Error {
  readonly hostId: string;
  readonly type: string;
  constructor(hostId: string, type: string) {
    super(`${hostId} did not take ${type}`);
    this.hostId = hostId;
    this.type = type;
  }
}

interface Look {
  readonly tx: Sql;
  readonly placing: Placing;
  /** The cell's own time. */
  readonly nowMs: number;
}

export interface QueueOptions {
  readonly services: CellServices;
  readonly owner: string;
  told(): void;
  elsewhereHeard(): boolean;
}

export class CapacityQueue {
  readonly #services: CellServices;
  readonly #owner: string;
  readonly #time: CellTime;
  /** Told after a look that wrote events. */
  readonly #told: () => void;
  /** Whether it is known what is offered in other zones. */
  readonly #elsewhereHeard: () => boolean;
  readonly #looking = new Coalesced(() => this.#lookAgain(), { roundsMax: limits.queueRoundsMax });
  #waits = true;

  constructor(options: QueueOptions) {
    this.#services = options.services;
    this.#owner = options.owner;
    this.#time = new CellTime(options.owner);
    this.#told = options.told;
    this.#elsewhereHeard = options.elsewhereHeard;
  }

  /** Whether a request waited when it was looked last. */
  get waits(): boolean {
    return this.#waits;
  }

  /** Capacity was given back, or something began to wait. What comes while a look runs is looked at after it. */
  hint(): void {
    void this.turn().catch((error: unknown) =>
      this.#services.log.warn(
        { err: error },
        'waiting requests were not looked at: they are within a second',
      ),
    );
  }

  /** Looks until there is nothing more to do; calls while it runs join it, and make it look once more. */
  turn(): Promise<void> {
    return this.#looking.run();
  }

  async #lookAgain(): Promise<void> {
    if ((await this.#look()) === 0) return;
    void this.#looking.run();
    this.#told();
  }

  /** How much it did. A host that does not take what the plan gives it is left out for the rest of the look. */
  async #look(): Promise<number> {
    const refused = new Set<string>();
    for (;;)
      try {
        return await this.#lookOnce(refused);
      } catch (error) {
        if (!(error instanceof NotTaken) || refused.size >= limits.queueRoundsMax) throw error;
        refused.add(`${error.hostId} ${error.type}`);
      }
  }

  async #lookOnce(refused: ReadonlySet<string>): Promise<number> {
    if (!this.#waits && (await isAtRest(this.#services, this.#owner, this.#time))) return 0;
    const { capacity, clock, faults } = this.#services;
    let counted = (): void => undefined;
    const did = await capacity.transaction(async (tx, placing) => {
      const row = await lockQueue(tx);
      await faults.hit('queue.locked');
      const tick = this.#time.next(row, clock.monotonicMs());
      if (tick !== undefined) await countElapsed(tx, this.#owner, row, tick.addMs);
      counted = tick?.counted ?? counted;
      const look = { tx, placing, nowMs: row.elapsed_ms + (tick?.addMs ?? 0) };
      const due = await whatIsDue(tx, look.nowMs);
      this.#waits = due.waits;
      // What ended gave back claims of several hosts: the next look serves, so that hosts are locked in order here.
      const ended = due.lapses ? await this.#expire(look) : 0;
      if (ended > 0) return ended;
      return due.waits ? this.#serve(look, refused) : 0;
    });
    if (did > 0) await faults.hit('queue.committed');
    counted();
    return did;
  }

  async #expire(look: Look): Promise<number> {
    const { tx, nowMs } = look;
    const offers = await lapsedOffers(tx, nowMs, limits.lapsedPerLookMax);
    await lockHosts(
      tx,
      await hostsOf(
        tx,
        offers.map(({ id }) => id),
      ),
    );
    for (const offer of offers) await this.#lapse(look, offer);
    const requests = await lapsedRequests(tx, nowMs, limits.lapsedPerLookMax);
    for (const request of requests) {
      // An offer that stands is honoured: the request ends with it.
      const live = (await liveOffers(tx)).filter(({ request_id: id }) => id === request.id);
      if (live.some(({ state }) => state === 'open')) continue;
      for (const offer of live) await this.giveBack(tx, offer, 'given-back');
      await setRequest(tx, request.id, { state: 'expired' });
      const message = `Nothing became free while the request was valid. Create another one to go on waiting.`;
      await this.tell(look, request, { kind: 'request.expired', state: 'expired', message });
    }
    return offers.length + requests.length;
  }

  async #lapse(look: Look, offer: OfferRow): Promise<void> {
    const { tx, nowMs } = look;
    const accumulated = offer.state === 'accumulating';
    await this.giveBack(tx, offer, accumulated ? 'given-back' : 'lapsed');
    await this.#services.faults.hit('queue.lapsed');
    const [request] = await tx.query<RequestRow>('select * from capacity_requests where id = $1', [
      offer.request_id,
    ]);
    if (request === undefined || !['waiting', 'offered'].includes(request.state)) return;
    const lapses = request.lapses + (accumulated ? 0 : 1);
    const over = lapses >= limits.offersLapsedMax || request.expires_ms <= nowMs;
    const state = !over ? 'waiting' : lapses >= limits.offersLapsedMax ? 'lapsed' : 'expired';
    const position = over ? request.position : await nextPosition(tx);
    await setRequest(tx, request.id, { state, position, lapses });
    if (accumulated) return;
    const after = over
      ? 'The request has ended.'
      : 'The request waits again, behind those that wait now; its offers that lapse are counted.';
    const lapsed = { ...offer, state: 'lapsed' as const };
    await this.tell(look, request, {
      ...{ kind: 'capacity.lapsed', state, offer: lapsed },
      message: `The offer was not claimed while it was valid. ${after}`,
    });
    if (state === 'lapsed')
      await this.tell(look, request, {
        ...{ kind: 'request.lapsed', state },
        message: `${lapses} offers in a row were not claimed.`,
      });
  }

  /** Ends an offer; what it reserved is free again. */
  async giveBack(tx: Sql, offer: OfferRow, state: 'given-back' | 'lapsed' | 'lost'): Promise<void> {
    await releaseParts(tx, offer.id);
    await setOffer(tx, offer.id, { state });
  }

  async tell(
    { tx, nowMs }: Pick<Look, 'tx' | 'nowMs'>,
    request: RequestRow,
    event: {
      readonly kind: EventKind;
      readonly state: RequestRow['state'];
      readonly message: string;
      readonly offer?: OfferRow;
    },
  ): Promise<void> {
    const { kind, state, message, offer } = event;
    const shown = offer === undefined ? {} : { offer: showOffer(request, offer) };
    const companion = request.companion_of === null ? {} : { companionOf: request.companion_of };
    const body: NewEvent['body'] = { ...companion, state, message, ...shown };
    await insertEvent(tx, { cellNumber: this.#services.identity.cellNumber, request, kind, body, nowMs });
  }

  async #serve(look: Look, refused: ReadonlySet<string>): Promise<number> {
    const { tx } = look;
    const rows = await readWaiting(tx, {
      ...{ perClassMax: limits.waitingPerClassMax, classesMax: limits.waitingClassesMax },
      also: this.#elsewhereHeard(),
    });
    if (rows.length === 0) return 0;
    const live = await liveOffers(tx);
    const byId = new Map(rows.map((row) => [row.id, row]));
    const accumulating = live.find(({ state }) => state === 'accumulating');
    const parts = accumulating === undefined ? [] : await partsOf(tx, accumulating.id);
    const open = await this.#open(tx);
    const types = new Map(open.map((row) => [row.id, row.slot_types]));
    const state: QueueState = {
      hosts: open.map((row) => ({
        hostId: row.id,
        free: row.open ? freeOf(row) : nothing,
        limit: limitOf(row),
      })),
      waiting: rows.map((row) => waitingOf(row, accumulating, parts)),
      racing: racingOf(live),
      refused: (hostId, type) =>
        refused.has(`${hostId} ${type}`) || types.get(hostId)?.includes(type) === false,
    };
    const { decisions, passedOver } = decide(state);
    for (const decision of decisions) {
      const request = byId.get(decision.id);
      if (request === undefined) continue;
      if (decision.kind === 'offer') await this.#offer(look, request, decision);
      else await this.#accumulate(look, request, decision, accumulating, parts);
    }
    await passOver(tx, passedOver);
    return decisions.length;
  }

  async #open(tx: Sql): Promise<CapacityRow[]> {
    const { zone } = this.#services.identity;
    const rows = await readCapacity(tx);
    return rows.filter((row) => row.state === 'active' && row.zone === zone && row.dedicated_to === null);
  }

  async #offer(
    look: Look,
    request: RequestRow,
    { option, hostIds }: Extract<Decision, { kind: 'offer' }>,
  ): Promise<void> {
    const chosen = request.options[option];
    if (chosen === undefined) throw new Error(`request ${request.id} has no option ${option}`);
    const { tx, placing, nowMs } = look;
    const id = newCellId('capacityOffer', this.#services.identity.cellNumber);
    // By host, as every transaction locks them.
    for (const [part, hostId] of hostIds.toSorted().entries()) {
      const claim = {
        purpose: 'notice',
        holder: id,
        part,
        type: chosen.type,
        amount: chosen.amount,
        accountId: request.account_id,
      } as const;
      const placed = await placing.place({ claim, zone: request.zone, hostId });
      if (placed === undefined) throw new NotTaken(hostId, chosen.type);
    }
    await this.#services.faults.hit('queue.claimed');
    const offer: OfferRow = {
      ...{ id, request_id: request.id, account_id: request.account_id, mode: request.mode, option },
      ...{ type: chosen.type, count: chosen.count, state: 'open', expires_ms: nowMs + request.offer_ms },
      ...{ valid_until: this.#until(request.offer_ms), reservation_id: null },
    };
    await insertOffer(tx, offer);
    await this.#services.faults.hit('queue.offered');
    await this.#offered(look, request, offer);
    await this.#services.faults.hit('queue.told');
  }

  #until(ms: number): Date {
    return new Date(this.#services.clock.now() + ms);
  }

  async #offered(look: Look, request: RequestRow, offer: OfferRow): Promise<void> {
    await setRequest(look.tx, request.id, { state: 'offered' });
    const what = `${offer.count} × ${offer.type} in ${request.zone}`;
    const message =
      offer.mode === 'race'
        ? `There is room for ${what}, and others are told too: launch now, naming the offer, and keep your place if you lose.`
        : `${what} ${offer.count === 1 ? 'is' : 'are'} reserved for you until the offer expires: launch, naming the offer in the header.`;
    await this.tell(look, request, { kind: 'capacity.offered', state: 'offered', offer, message });
  }

  async #accumulate(
    look: Look,
    request: RequestRow,
    { parts, whole }: Extract<Decision, { kind: 'accumulate' }>,
    before: OfferRow | undefined,
    claims: readonly PartClaim[],
  ): Promise<void> {
    const { tx, nowMs } = look;
    const [original] = request.options;
    if (original === undefined) return;
    const id = before?.id ?? newCellId('capacityOffer', this.#services.identity.cellNumber);
    await this.#reserveParts(tx, { id, type: original.type, accountId: request.account_id }, parts, claims);
    await this.#services.faults.hit('queue.accumulated');
    const offer: OfferRow = {
      ...{ id, request_id: request.id, account_id: request.account_id, mode: request.mode, option: 0 },
      ...{ type: original.type, count: original.count, reservation_id: null },
      state: whole ? 'open' : 'accumulating',
      expires_ms: nowMs + (whole ? request.offer_ms : limits.accumulateMsMax),
      valid_until: whole ? this.#until(request.offer_ms) : null,
    };
    if (before === undefined) await insertOffer(tx, offer);
    if (!whole) return;
    const validUntil = offer.valid_until ?? this.#until(request.offer_ms);
    await setOffer(tx, id, { state: 'open', expiresMs: offer.expires_ms, validUntil });
    await this.#offered(look, request, offer);
  }

  /** Claims become these parts. Hosts are locked in order first, since there are several. */
  async #reserveParts(
    tx: Sql,
    offer: { readonly id: string; readonly type: string; readonly accountId: string },
    parts: readonly Part[],
    claims: readonly PartClaim[],
  ): Promise<void> {
    const hostIds = [...parts, ...claims].map(({ hostId }) => hostId);
    await lockHosts(tx, [...new Set(hostIds)].toSorted());
    for (const claim of claims)
      if (!parts.some(({ part, hostId }) => part === claim.part && hostId === claim.hostId))
        await releaseClaim(tx, claimIdOf('notice', offer.id, claim.part));
    for (const { part, hostId, amount } of parts) {
      const claim = {
        purpose: 'notice',
        holder: offer.id,
        part,
        type: offer.type,
        amount,
        accountId: offer.accountId,
      } as const;
      if ((await setClaim(tx, hostId, claim)) === undefined) throw new NotTaken(hostId, offer.type);
    }
  }
}

const waitingOf = (
  row: RequestRow,
  accumulating: OfferRow | undefined,
  parts: readonly PartClaim[],
): Waiting => ({
  ...{
    id: row.id,
    position: row.position,
    mode: row.mode,
    options: row.options,
    passedOver: row.passed_over,
  },
  ...(accumulating?.request_id === row.id ? { parts } : {}),
});

const racingOf = (live: readonly OfferRow[]): Map<string, number> => {
  const racing = new Map<string, number>();
  for (const { mode, state, type, count } of live)
    if (mode === 'race' && state === 'open') racing.set(type, (racing.get(type) ?? 0) + count);
  return racing;
};
