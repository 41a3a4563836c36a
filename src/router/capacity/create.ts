/**
 * Where a request for capacity waits: in one cell of its zone. What it names in other zones, or is to be suggested there, waits as requests
 * of their own in a cell of each, which name the first and end with it (S10.2).
 */
import {
  type CompanionView,
  type CreateRequestInput,
  capacityLimits,
  createRequestInput,
} from '#contracts/capacity.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Cell } from '../cell.ts';
import { chooseCells } from '../demand.ts';
import { type Outcome, outputOf, unavailable } from '../outcome.ts';
import { contentHash, type Parts, textIn } from '../request.ts';
import { backend, type CapacityRequest } from './backend.ts';

type Alternative = CreateRequestInput['alternatives'][number];

/** What waits in another zone: the first is what is asked for there. */
interface Elsewhere {
  readonly zone: string;
  readonly alternatives: readonly Alternative[];
  readonly reason: string;
}

/** The account's cells, in the order in which this request is offered to them. */
const cellsFor = (
  parts: Parts,
  cells: readonly Cell[],
  { accountId, key, zone }: { readonly accountId: string; readonly key: string; readonly zone?: string },
): readonly Cell[] => {
  const demand = { accountId, key, zone, size: undefined, tenancy: 'default' };
  const records = cells.map(({ record }) => record);
  const { shard } = chooseCells(demand, records, parts.cells.cellsPerAccount);
  return shard.flatMap(({ cellId }) => cells.filter(({ record }) => record.cellId === cellId));
};

const badZone = (zone: string): PandoError =>
  new PandoError('InvalidParameterValue', `Invalid availability zone: [${zone.slice(0, 64)}]`);

/** With a client token the first cell alone is asked: another could make a second request of it. */
export const createRequest = async (parts: Parts, request: CapacityRequest): Promise<unknown> => {
  const { accountId, requestId } = request.call;
  const zone = textIn(request.body, 'availabilityZone');
  const token = textIn(request.body, 'clientToken');
  const cells = await parts.cells.all();
  const own = { accountId, key: token ?? contentHash([requestId]) };
  const ordered = cellsFor(parts, cells, { ...own, ...(zone === undefined ? {} : { zone }) });
  if (ordered.length === 0)
    throw zone === undefined ? unavailable('There is no cell yet. Retry your request.') : badZone(zone);
  const candidates =
    token === undefined
      ? ordered.filter(({ live }) => live).slice(0, 1 + parts.otherCellsMax)
      : ordered.slice(0, 1);
  const zones = [...new Set(cellsFor(parts, cells, own).map(({ record }) => record.zone))];
  let last: Outcome = { state: 'undelivered', error: new PandoError('HostUnreachable', 'No cell is live.') };
  for (const cell of candidates) {
    const elsewhere = elsewhereOf(request.body, cell.record.zone, zones);
    for (const each of elsewhere)
      if (!cells.some(({ record }) => record.zone === each.zone)) throw badZone(each.zone);
    last = await askMain(cell, request, elsewhere, token !== undefined);
    // A cell of the last release knows one zone alone, and says what is wrong with others.
    if (last.state === 'refused' && last.error.code === 'InvalidAction')
      last = await askMain(cell, request, [], token !== undefined);
    else if (last.state === 'answered' && elsewhere.length > 0)
      return withCompanions(parts, { cells, cell, request, elsewhere, main: last.output });
    if (last.state !== 'undelivered') break;
  }
  return outputOf(last, 'The cell of this request');
};

/** What of a request is for other zones than this one; a body that makes no sense is left to the cell, which says what is wrong. */
const elsewhereOf = (body: unknown, home: string, zones: readonly string[]): readonly Elsewhere[] => {
  const { data } = createRequestInput.safeParse(body);
  if (data === undefined) return [];
  const named = data.alternatives.filter(({ availabilityZone: zone = home }) => zone !== home);
  const byZone = Map.groupBy(named, ({ availabilityZone: zone = home }) => zone);
  const found: Elsewhere[] = [...byZone].map(([zone, alternatives]) => ({
    ...{ zone, alternatives, reason: 'You named it.' },
  }));
  if (found.length > capacityLimits.otherZonesMax)
    throw new PandoError(
      'InvalidParameterValue',
      `alternatives: ${capacityLimits.otherZonesMax} other zones at most, not ${found.length}.`,
    );
  if (data.suggestAlternatives)
    for (const zone of zones)
      if (zone !== home && !byZone.has(zone) && found.length < capacityLimits.otherZonesMax)
        found.push({ zone, alternatives: [{}], reason: `The same in ${zone}, where your launches go too.` });
  return found;
};

const askMain = (
  cell: Cell,
  request: CapacityRequest,
  elsewhere: readonly Elsewhere[],
  repeatable: boolean,
): Promise<Outcome> => {
  if (elsewhere.length === 0) return cell.call(backend(request, 'createRequest', request.body), repeatable);
  const input = createRequestInput.parse(request.body);
  const { zone: home } = cell.record;
  const here = input.alternatives.filter(({ availabilityZone: zone = home }) => zone === home);
  const there = input.alternatives.filter(({ availabilityZone: zone = home }) => zone !== home);
  const link = { as: 'main', elsewhere: there };
  const asked = { request: { ...input, alternatives: here }, link };
  return cell.call(backend(request, 'createLinked', asked), repeatable);
};

interface Made {
  readonly cells: readonly Cell[];
  /** Of the first request. */
  readonly cell: Cell;
  readonly request: CapacityRequest;
  readonly elsewhere: readonly Elsewhere[];
  /** The first request, as its cell shows it. */
  readonly main: unknown;
}

/** Those that could not be made are not named in the answer: the first request waits all the same. */
const withCompanions = async (parts: Parts, made: Made): Promise<unknown> => {
  const { cell, request, elsewhere, main } = made;
  const requestId = textIn(main, 'requestId') ?? '';
  const all = await Promise.all(elsewhere.map((each) => createCompanion(parts, made, requestId, each)));
  const companions = all.filter((each) => each !== undefined);
  const outcome = await cell.call(backend(request, 'setCompanions', { requestId, companions }), true);
  return outcome.state === 'answered' ? outcome.output : main;
};

/** Made once however often it is asked for: its token names the first request and the zone. */
const createCompanion = async (
  parts: Parts,
  { cells, request }: Made,
  main: string,
  { zone, alternatives, reason }: Elsewhere,
): Promise<CompanionView | undefined> => {
  const [cell] = cellsFor(parts, cells, { accountId: request.call.accountId, key: main, zone });
  const input = createRequestInput.parse(request.body);
  const [first = {}, ...rest] = alternatives;
  const { instanceType = input.instanceType, count = input.count } = first;
  const asked = {
    ...{ ...input, instanceType, count, availabilityZone: zone, suggestAlternatives: false },
    alternatives: rest.map((each) => ({ instanceType: input.instanceType, count: input.count, ...each })),
    clientToken: `of/${main}/${zone}`.slice(0, capacityLimits.tokenCharsMax),
  };
  const link = { as: 'companion', of: main, reason };
  const outcome = await cell?.call(backend(request, 'createLinked', { request: asked, link }), true);
  const requestId = outcome?.state === 'answered' ? textIn(outcome.output, 'requestId') : undefined;
  return requestId === undefined
    ? undefined
    : { instanceType, count, availabilityZone: zone, reason, requestId };
};
