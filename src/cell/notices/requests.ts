/** What clients ask about waiting for capacity: create, list, show, cancel, events. */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { canonicalJson } from '#contracts/canonicalJson.ts';
import {
  type CapacityOperation,
  type CreateRequestInput,
  capacityLimits,
  capacityOperations,
  isCapacityOperation,
  type Link,
  type OperationInput,
  type OperationOutput,
  type RequestView,
} from '#contracts/capacity.ts';
import { PandoError } from '#contracts/errors.ts';
import { newCellId, notFound } from '#contracts/ids.ts';
import type { Amount } from '#slots/amount.ts';
import { sizeOf } from '../instance-types.ts';
import type { CellServices } from '../services.ts';
import {
  countOpen,
  findByToken,
  findRequest,
  insertRequest,
  lockQueue,
  nextPosition,
  type OptionColumn,
  offersOf,
  type RequestRow,
  readEvents,
  setCompanions,
  setRequest,
  showEvent,
} from '../store/capacity-requests.ts';
import { lockHosts } from '../store/hosts.ts';
import type { Sql } from '../store/sql.ts';
import { hostsOf, partsOf } from './parts.ts';
import { type CapacityQueue, classOf } from './queue.ts';
import { showRequest } from './show.ts';
import { readMeasuredUse, readTypeUse, suggest } from './suggest.ts';

export interface CapacityCaller {
  readonly requestId: string;
  readonly accountId: string;
  readonly principal: string;
}

export interface NewRequest {
  readonly token: string;
  readonly requestHash: string;
  readonly mode: 'reserve' | 'race';
  readonly options: readonly OptionColumn[];
  readonly offerSeconds: number;
  readonly validSeconds: number;
  readonly callbackUrl: string | null;
  /** One of several, in several zones. Default: the only one. */
  readonly link?: Link;
}

const mibPerGib = 1024;
const eventsLookEveryMs = 500;

const sizedAs = (name: string, diskMib: number): Amount => {
  const { vcpusMilli, memoryMib, networkMbps } = sizeOf(name);
  return { vcpusMilli, memoryMib, networkMbps, diskMib };
};

/** The original and the alternatives that the client named, each checked. @throws InvalidParameterValue */
export const optionsOf = (input: CreateRequestInput, zone: string): OptionColumn[] => {
  const diskMib = input.diskGib * mibPerGib;
  const { instanceType, count } = input;
  const all = [{ instanceType, count, availabilityZone: input.availabilityZone }, ...input.alternatives];
  return all.map((each, at) => {
    const type = each.instanceType ?? instanceType;
    if (each.availabilityZone !== undefined && each.availabilityZone !== zone)
      throw new PandoError(
        'InvalidParameterValue',
        `This cell has no hosts in the zone ${each.availabilityZone}.`,
      );
    const option = { type, count: each.count ?? count, amount: sizedAs(type, diskMib) };
    return at === 0 ? option : { ...option, reason: 'You named it.' };
  });
};

const cannotCancel = (id: string, state: string): PandoError =>
  new PandoError(
    'InvalidCapacityRequestState',
    `The capacity request '${id}' is ${state}: it cannot be cancelled.`,
  );

const hashOf = (input: unknown): string => createHash('sha256').update(canonicalJson(input)).digest('hex');

type Handlers = {
  readonly [O in CapacityOperation]: (
    input: OperationInput<O>,
    caller: CapacityCaller,
  ) => Promise<OperationOutput<O>>;
};

export interface CapacityRequestsOptions {
  readonly services: CellServices;
  readonly queue: CapacityQueue;
  /** What a launch would take: its type, how many, of which amount; the region is asked for the image. */
  readonly sizeLaunch: (
    run: unknown,
    caller: CapacityCaller,
  ) => Promise<{
    readonly type: string;
    readonly count: number;
    readonly amount: Amount;
    readonly token: string;
  }>;
  readonly signingSecretOf: (requestId: string) => string;
  /** Why nothing may be sent to this URL; undefined: it may. */
  readonly callbackObjection: (url: string) => string | undefined;
}

export class CapacityRequests {
  readonly #options: CapacityRequestsOptions;
  /** Who waits for an event of an account. */
  #wake = Promise.withResolvers<void>();

  constructor(options: CapacityRequestsOptions) {
    this.#options = options;
  }

  /** Events were written: who waits for some looks. */
  told(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  /** @throws InvalidAction, InvalidParameterValue with what is wrong where, and each operation's own. */
  async call(call: CapacityCaller & { readonly action: string; readonly input?: unknown }): Promise<unknown> {
    const { action, input, ...caller } = call;
    if (!isCapacityOperation(action))
      throw new PandoError('InvalidAction', `There is no operation ${action.slice(0, 64)}.`);
    const parsed = capacityOperations[action].input.safeParse(input ?? {});
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      const where = issue?.path.join('.') ?? '';
      throw new PandoError(
        'InvalidParameterValue',
        `${where === '' ? 'The body' : where}: ${issue?.message ?? ''}`,
      );
    }
    const handler = this.#handlers[action] as (given: unknown, by: CapacityCaller) => Promise<unknown>;
    return handler(parsed.data, caller);
  }

  readonly #handlers: Handlers = {
    createRequest: (input, caller) => this.#createRequest(caller, input),
    createLinked: ({ request, link }, caller) => this.#createRequest(caller, request, link),
    setCompanions: async ({ requestId, companions }, { accountId }) => {
      const { db } = this.#options.services;
      await setCompanions(db, accountId, requestId, companions);
      return this.#show(db, await this.#owned(db, accountId, requestId));
    },
    createFromLaunch: async ({ run, validSeconds }, caller) => {
      const { type, count, amount, token } = await this.#options.sizeLaunch(run, caller);
      return this.create(caller, {
        token: `launch/${token}`,
        requestHash: hashOf({ type, count, amount, validSeconds }),
        mode: 'reserve',
        options: [{ type, count, amount }],
        offerSeconds: capacityLimits.reserveSecondsDefault,
        validSeconds,
        callbackUrl: null,
      });
    },
    showRequest: async ({ requestId }, { accountId }) => {
      const { db } = this.#options.services;
      return this.#show(db, await this.#owned(db, accountId, requestId));
    },
    cancelRequest: async ({ requestId }, { accountId }) => {
      await this.#owned(this.#options.services.db, accountId, requestId);
      const message = 'You cancelled the request: what was reserved for it is given back.';
      return this.end(requestId, message, (state) => {
        if (state !== 'cancelled') throw cannotCancel(requestId, state);
      });
    },
    listRequests: async ({ maxResults, after, states }, { accountId }) => {
      const { db } = this.#options.services;
      const rows = await db.query<RequestRow>(
        `select * from capacity_requests where account_id = $1 and ($2::text[] is null or state = any($2))
           and ($3::text is null or id > $3) order by id limit $4`,
        [accountId, states ?? null, after ?? null, maxResults + 1],
      );
      const page = rows.slice(0, maxResults);
      const requests = await this.#showAll(db, page);
      const last = page.at(-1);
      return rows.length > maxResults && last !== undefined ? { requests, next: last.id } : { requests };
    },
    events: async ({ after, maxResults, waitSeconds, requestId }, { accountId }) => {
      const { db, clock } = this.#options.services;
      const end = clock.monotonicMs() + waitSeconds * 1000;
      for (;;) {
        const woken = this.#wake.promise;
        const rows = await readEvents(db, { accountId, after, limit: maxResults, requestId });
        const left = end - clock.monotonicMs();
        if (rows.length > 0 || left <= 0)
          return { events: rows.map(showEvent), last: rows.at(-1)?.seq ?? after };
        // The other processor's events wake nobody here: they are found by looking.
        await Promise.race([woken, delay(Math.min(left, eventsLookEveryMs))]);
      }
    },
  };

  /** The suggested ones come after those that the client named. */
  async #optionsOf(input: CreateRequestInput, accountId: string, link?: Link): Promise<OptionColumn[]> {
    const { db, identity, usage } = this.#options.services;
    const named = optionsOf(input, identity.zone).map((option, at) =>
      at === 0 && link?.as === 'companion' ? { ...option, reason: link.reason } : option,
    );
    if (!input.suggestAlternatives) return named;
    const measured = await readMeasuredUse(db, usage, accountId, input.instanceType);
    return [...named, ...suggest(named, await readTypeUse(db, accountId), measured)];
  }

  async #createRequest(caller: CapacityCaller, input: CreateRequestInput, link?: Link): Promise<RequestView> {
    const { clientToken, ...asked } = input;
    const objection = input.callback && this.#options.callbackObjection(input.callback.url);
    if (objection !== undefined) throw new PandoError('InvalidParameterValue', `callback.url: ${objection}.`);
    return this.create(caller, {
      token: `request/${clientToken ?? caller.requestId}`,
      requestHash: hashOf(link === undefined ? asked : { asked, link }),
      mode: input.mode === 'race' ? 'race' : 'reserve',
      options: await this.#optionsOf(input, caller.accountId, link),
      offerSeconds: input.offerSeconds,
      validSeconds: input.validSeconds,
      callbackUrl: input.callback?.url ?? null,
      ...(link && { link }),
    });
  }

  async create(caller: CapacityCaller, request: NewRequest): Promise<RequestView> {
    const { services, queue } = this.#options;
    const { identity, db, clock } = services;
    const { accountId } = caller;
    const row = await db.transaction(async (tx) => {
      const { elapsed_ms: nowMs } = await lockQueue(tx);
      const known = await findByToken(tx, accountId, request.token);
      if (known !== undefined) {
        if (known.request_hash === request.requestHash) return known;
        throw new PandoError(
          'IdempotentParameterMismatch',
          'The request uses the same client token as a previous, but non-identical request.',
        );
      }
      if ((await countOpen(tx, accountId)) >= capacityLimits.openRequestsMax)
        throw new PandoError(
          'CapacityRequestLimitExceeded',
          `You have ${capacityLimits.openRequestsMax} requests for capacity that wait. Cancel one, or wait until one has ended.`,
        );
      const made = await insertRequest(tx, {
        ...{ id: newCellId('capacityRequest', identity.cellNumber), account_id: accountId },
        ...{ token: request.token, request_hash: request.requestHash, state: 'waiting', mode: request.mode },
        ...{ position: await nextPosition(tx), zone: identity.zone, options: request.options },
        class: classOf({ zone: identity.zone, options: request.options }),
        offer_ms: request.offerSeconds * 1000,
        expires_ms: nowMs + request.validSeconds * 1000,
        valid_until: new Date(clock.now() + request.validSeconds * 1000),
        ...{ passed_over: 0, lapses: 0, callback_url: request.callbackUrl },
        companions: request.link?.as === 'main' ? [] : null,
        companion_of: request.link?.as === 'companion' ? request.link.of : null,
      });
      await services.faults.hit('request.written');
      return made;
    });
    await services.faults.hit('request.committed');
    queue.hint();
    return this.#show(db, row);
  }

  async #owned(sql: Sql, accountId: string, id: string): Promise<RequestRow> {
    const row = await findRequest(sql, id);
    if (row === undefined || row.account_id !== accountId) throw notFound('capacityRequest', id);
    return row;
  }

  /** Cancels it: what was reserved for it is given back. `ended`: told of the state of one that has ended already. */
  async end(
    id: string,
    message: string,
    ended: (state: RequestRow['state']) => void = () => undefined,
  ): Promise<RequestView> {
    const { queue, services } = this.#options;
    const row = await services.db.transaction(async (tx) => {
      const { elapsed_ms: nowMs } = await lockQueue(tx);
      const request = await findRequest(tx, id);
      if (request === undefined) throw notFound('capacityRequest', id);
      if (request.state !== 'waiting' && request.state !== 'offered') {
        ended(request.state);
        return request;
      }
      const offers = await offersOf(tx, [id]);
      const live = offers.filter(({ state }) => state === 'open' || state === 'accumulating');
      await lockHosts(
        tx,
        await hostsOf(
          tx,
          live.map((offer) => offer.id),
        ),
      );
      for (const offer of live) await queue.giveBack(tx, offer, 'given-back');
      await services.faults.hit('request.gaveBack');
      await setRequest(tx, id, { state: 'cancelled' });
      await queue.tell({ tx, nowMs }, request, { kind: 'request.cancelled', state: 'cancelled', message });
      return { ...request, state: 'cancelled' as const };
    });
    this.told();
    return this.#show(services.db, row);
  }

  async #show(sql: Sql, request: RequestRow): Promise<RequestView> {
    const [shown] = await this.#showAll(sql, [request]);
    if (shown === undefined) throw new Error(`request ${request.id} was not shown`);
    return shown;
  }

  async #showAll(sql: Sql, rows: readonly RequestRow[]): Promise<RequestView[]> {
    const offers = Map.groupBy(
      await offersOf(
        sql,
        rows.map(({ id }) => id),
      ),
      ({ request_id: id }) => id,
    );
    const shown: RequestView[] = [];
    for (const request of rows) {
      const own = offers.get(request.id) ?? [];
      const accumulating = own.find(({ state }) => state === 'accumulating');
      shown.push(
        showRequest({
          request,
          offers: own,
          ahead: request.state === 'waiting' ? await aheadOf(sql, request) : undefined,
          reserved: accumulating === undefined ? undefined : await wholeOf(sql, request, accumulating.id),
          signingSecret:
            request.callback_url === null ? undefined : this.#options.signingSecretOf(request.id),
        }),
      );
    }
    return shown;
  }
}

const aheadOf = async (sql: Sql, { class: same, position }: RequestRow): Promise<number> =>
  (
    await sql.query<{ n: number }>(
      `select count(*)::int as n from capacity_requests where state = 'waiting' and class = $1 and position < $2`,
      [same, position],
    )
  )[0]?.n ?? 0;

const wholeOf = async (sql: Sql, { options }: RequestRow, offerId: string): Promise<number> => {
  const memory = options[0]?.amount.memoryMib ?? 0;
  return (await partsOf(sql, offerId)).filter(({ amount }) => amount.memoryMib >= memory).length;
};
