/** `pando request`: capacity that is waited for. */
import type { EventView, RequestView } from '#contracts/capacity.ts';
import { callCapacity } from '../capacityClient.ts';
import { print, table, UserError } from '../output.ts';
import { openRegion } from '../region.ts';

interface Options {
  readonly dir: string;
  readonly json?: boolean;
}

export interface CreateOptions extends Options {
  readonly type: string;
  readonly count: number;
  readonly disk: number;
  readonly zone?: string;
  readonly race: boolean;
  readonly offerFor: number;
  readonly validFor: number;
  readonly alternative: readonly string[];
  readonly suggest: boolean;
  readonly callback?: string;
  readonly token?: string;
}

const json = (value: unknown): string => JSON.stringify(value, null, 2);

/** `TYPE[*COUNT][@ZONE]` */
const alternativeOf = (text: string): object => {
  const match = /^([a-z][a-z0-9.-]*)(?:\*(\d{1,3}))?(?:@([a-z0-9-]+))?$/.exec(text);
  if (match === null)
    throw new UserError(`An alternative is TYPE, TYPE*COUNT or TYPE*COUNT@ZONE, not ${text.slice(0, 64)}.`);
  const [, instanceType, count, availabilityZone] = match;
  return {
    instanceType,
    ...(count === undefined ? {} : { count: Number(count) }),
    ...(availabilityZone === undefined ? {} : { availabilityZone }),
  };
};

const shownOffer = (request: RequestView): string => {
  const open = request.offers.find(({ state }) => state === 'open');
  if (open !== undefined) return `${open.offerId}, until ${open.validUntil}`;
  const accumulating = request.offers.find(({ state }) => state === 'accumulating');
  return accumulating === undefined
    ? ''
    : `${accumulating.reserved ?? 0} of ${request.count} reserved so far`;
};

const show = (request: RequestView): void => {
  const { offers, alternatives } = request;
  print(
    table([
      ['request', request.requestId],
      ['state', request.state],
      ['asks for', `${request.count} × ${request.instanceType} in ${request.availabilityZone}`],
      ['valid until', request.validUntil],
      ...(request.ahead === undefined ? [] : [['ahead of it', String(request.ahead)]]),
      ...(request.companionOf === undefined ? [] : [['waits for', request.companionOf]]),
      ...alternatives.map((each) => [
        'or',
        `${each.count} × ${each.instanceType} in ${each.availabilityZone}: ${each.reason ?? ''}${each.requestId === undefined ? '' : ` It waits there as ${each.requestId}.`}`,
      ]),
      ...offers.map((offer) => [
        'offer',
        `${offer.offerId} ${offer.state}: ${offer.count} × ${offer.instanceType}${offer.validUntil === undefined ? '' : `, until ${offer.validUntil}`}`,
      ]),
    ]),
  );
  const open = offers.find(({ state }) => state === 'open');
  if (open !== undefined)
    print(`Launch ${open.instanceType} with the header x-pando-hold: ${open.offerId} to claim it.`);
  if (request.signingSecret !== undefined)
    print(`Webhooks to ${request.callback?.url} are signed with ${request.signingSecret}`);
};

export async function createRequest(options: CreateOptions): Promise<void> {
  const body = {
    ...{ instanceType: options.type, count: options.count, diskGib: options.disk },
    ...{
      mode: options.race ? 'race' : 'hold',
      offerSeconds: options.offerFor,
      validSeconds: options.validFor,
    },
    ...{ alternatives: options.alternative.map(alternativeOf), suggestAlternatives: options.suggest },
    ...(options.zone === undefined ? {} : { availabilityZone: options.zone }),
    ...(options.callback === undefined ? {} : { callback: { url: options.callback } }),
    ...(options.token === undefined ? {} : { clientToken: options.token }),
  };
  const made = (await callCapacity(openRegion(options), {
    ...{ method: 'POST', path: 'requests', body },
  })) as RequestView;
  if (options.json) print(json(made));
  else show(made);
}

export async function listRequests(options: Options & { readonly all: boolean }): Promise<void> {
  const region = openRegion(options);
  const requests: RequestView[] = [];
  let after: string | undefined;
  do {
    const query = { maxResults: '1000', ...(after === undefined ? {} : { after }) };
    const page = (await callCapacity(region, { method: 'GET', path: 'requests', query })) as {
      requests: RequestView[];
      next?: string;
    };
    requests.push(...page.requests);
    after = page.next;
  } while (after !== undefined);
  const open = requests.filter(({ state }) => options.all || state === 'waiting' || state === 'offered');
  if (options.json) return print(json(open));
  if (open.length === 0)
    return print('No request waits for capacity. Make one: pando request create --type p1.large');
  print(
    table([
      ['request', 'state', 'asks for', 'ahead', 'offer'],
      ...open.map((each) => [
        ...[each.requestId, each.state, `${each.count} × ${each.instanceType}`],
        ...[each.ahead === undefined ? '' : String(each.ahead), shownOffer(each)],
      ]),
    ]),
  );
}

export async function showRequest(id: string, options: Options): Promise<void> {
  const request = (await callCapacity(openRegion(options), {
    ...{ method: 'GET', path: `requests/${encodeURIComponent(id)}` },
  })) as RequestView;
  if (options.json) print(json(request));
  else show(request);
}

export async function cancelRequest(id: string, options: Options): Promise<void> {
  await callCapacity(openRegion(options), { method: 'DELETE', path: `requests/${encodeURIComponent(id)}` });
  print(`${id} is cancelled: what was reserved for it is given back.`);
}

const eventsWaitSeconds = '20';

/** What happened, oldest first; `follow`: as it happens, until it is interrupted. */
export async function showEvents(options: Options & { readonly follow: boolean }): Promise<void> {
  const region = openRegion(options);
  let cursor = '0';
  for (;;) {
    const query = { cursor, ...(options.follow ? { waitSeconds: eventsWaitSeconds } : {}) };
    const page = (await callCapacity(region, { method: 'GET', path: 'events', query })) as {
      events: EventView[];
      cursor: string;
    };
    for (const event of page.events)
      print(
        options.json
          ? JSON.stringify(event)
          : `${event.at} ${event.requestId} ${event.kind}: ${event.message}${event.offer === undefined ? '' : ` (${event.offer.offerId})`}`,
      );
    if (page.events.length === 0 && !options.follow) return;
    cursor = page.cursor;
  }
}
