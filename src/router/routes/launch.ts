/**
 * RunInstances: to the cell of the demand, and when it has no room or is down, to at most k others (S3.8), all of them cells of the
 * account (S3.9). Only when none of its own lives the next ones in its order take their place.
 *
 * The rules that keep "never carried out twice" (I4):
 * 1. A cell without a live processor gets nothing: the next one is asked.
 * 2. A cell that answers `InsufficientInstanceCapacity` has taken nothing: the next one is asked.
 * 3. A request that was sent and not answered may have been accepted. It goes to another processor of the
 *    same cell, which knows it by its client token, and never to another cell: the client gets `Unavailable`.
 *    A request without a token gets its request id as one, so that this rule holds for it too.
 * 4. A repeated request (the client says so, this replica remembers the token, or has just started and cannot
 *    remember) first asks the candidates which of them holds the token, and goes to that one. If a candidate cannot be asked, the answer is
 *    `Unavailable`, unless this replica remembers that all cells refused the attempt just before.
 * 5. Launches with one token run one after another in a replica.
 * 6. The cell itself claims the token in the region before it launches. If another cell has it, the request goes there, and
 *    nowhere else: so a repetition without any mark, to a replica that knows nothing of it, meets the launch that it repeats.
 */
import { PandoError } from '#contracts/errors.ts';
import { cellNumberOf, notFound } from '#contracts/ids.ts';
import type { WireInput } from '#wire/types.ts';
import type { Cell } from '../cell.ts';
import { type CellChoice, chooseCells, demandOf, type LaunchRequest } from '../demand.ts';
import { isRecord, isUnanswered, type Outcome, outputOf, unavailable } from '../outcome.ts';
import { type Answer, backendCall, type Call, listIn, type Parts, textIn } from '../request.ts';
import { shareOut } from './ids.ts';
import { demandedInput } from './launchTemplate.ts';

export const launch = (parts: Parts, call: Call): Promise<Answer> =>
  call.pendingSeconds === undefined || call.input.DryRun === true
    ? launchNow(parts, call)
    : launchNow(parts, call).catch((error: unknown) => orWait(parts, call, error));

/** No room: a request is made to wait in the cell that would have been asked first, and the error names it. */
const orWait = async (parts: Parts, call: Call, thrown: unknown): Promise<never> => {
  const error = PandoError.from(thrown);
  if (error.code !== 'InsufficientInstanceCapacity' || error.details?.pendingId !== undefined) throw thrown;
  const demanded = { ...call, input: await demandedInput(parts, call) };
  const [home] = liveOf(parts, await choiceOf(parts, demanded, demandOf(call.input).key));
  const token = textIn(call.input, 'ClientToken') ?? call.requestId;
  throw home === undefined
    ? thrown
    : await waitIn(home, { ...call, input: { ...call.input, ClientToken: token } }, error);
};

const waitIn = async (home: Cell, call: Call, error: PandoError): Promise<PandoError> => {
  const input = { run: inZoneOf(home, call.input), validSeconds: call.pendingSeconds };
  const outcome = await home.call({ ...backendCall(call), action: 'createFromLaunch', input }, true);
  const pendingId = outcome.state === 'answered' ? textIn(outcome.output, 'requestId') : undefined;
  if (pendingId !== undefined)
    return new PandoError(
      error.code,
      `${error.message} Your request waits as ${pendingId}: GET /capacity/v1/requests/${pendingId} tells what becomes of it.`,
      { cause: error, details: { pendingId } },
    );
  const why = outcome.state === 'refused' ? outcome.error.message : 'its cell does not answer.';
  return new PandoError(error.code, `${error.message} No request waits for it: ${why}`, { cause: error });
};

/** The cell that made an offer has what it reserved: no other is asked. */
const offeringCell = async (parts: Parts, offerId: string): Promise<CellChoice<Cell>> => {
  const cell = await parts.cells.byNumber(cellNumberOf(offerId));
  if (cell === undefined) throw notFound('capacityOffer', offerId);
  return { shard: [cell], others: [] };
};

const launchNow = async (parts: Parts, call: Call): Promise<Answer> => {
  const token = textIn(call.input, 'ClientToken');
  // What the client sent, without its template: a token or content means the same cell whatever the template says by now.
  const { key } = demandOf(call.input);
  const demanded = { ...call, input: await demandedInput(parts, call) };
  if (token === undefined) {
    const input = { ...call.input, ClientToken: call.requestId };
    const choice = await cellsOf(parts, demanded, key);
    return tryInTurn(parts, { ...call, input }, liveOf(parts, choice));
  }
  return parts.launches.oneByOne(call.caller.accountId, token, async () => {
    const choice = await cellsOf(parts, demanded, key);
    const earlier = await findEarlier(parts, call, token, choice);
    return tryInTurn(parts, call, earlier === undefined ? liveOf(parts, choice) : [earlier]);
  });
};

/** At most k after the first, of the account's own; where none of its own lives, as many of the others. */
export const liveOf = (parts: Parts, { shard, others }: CellChoice<Cell>): readonly Cell[] => {
  const own = shard.filter(({ live }) => live);
  const asked = own.length > 0 ? own : others.filter(({ live }) => live).slice(0, shard.length);
  return asked.slice(0, 1 + parts.otherCellsMax);
};

const cellsOf = (parts: Parts, call: Call, key: string): Promise<CellChoice<Cell>> =>
  call.offerId === undefined ? namedOr(parts, call, key) : offeringCell(parts, call.offerId);

/** The cell of the reservation or the dedicated host that the launch names: no other has it. */
const namedOr = async (parts: Parts, call: Call, key: string): Promise<CellChoice<Cell>> => {
  const { Placement, CapacityReservationSpecification: words } = call.input;
  const hostId = textIn(Placement, 'HostId');
  const target = isRecord(words) ? words.CapacityReservationTarget : undefined;
  const [kind, id] =
    hostId === undefined
      ? (['capacityReservation', textIn(target, 'CapacityReservationId')] as const)
      : (['host', hostId] as const);
  if (id === undefined) return choiceOf(parts, call, key);
  return { shard: (await shareOut(parts, [id], kind)).map(({ cell }) => cell), others: [] };
};

export const choiceOf = async (parts: Parts, call: Call, key: string): Promise<CellChoice<Cell>> => {
  const zone = await zoneOf(parts, call);
  const cells = await cellsFor(parts, zone);
  if (zone !== undefined && cells.length > 0 && !cells.some(({ record }) => record.zone === zone))
    throw new PandoError('InvalidParameterValue', `Invalid availability zone: [${zone.slice(0, 64)}]`);
  const byId = new Map(cells.map((cell) => [cell.record.cellId, cell]));
  const { size, tenancy } = demandOf(call.input);
  const request = { accountId: call.caller.accountId, key, zone, size, tenancy };
  const records = cells.map(({ record }) => record);
  const { shard, others } = chooseCells(request, records, parts.cells.cellsPerAccount);
  if (shard.length === 0) refuseUnsuited(request, records);
  const known = ({ cellId }: { readonly cellId: string }) => byId.get(cellId) ?? [];
  return { shard: shard.flatMap(known), others: others.flatMap(known) };
};

/** EC2's words where no cell of the zone is of the make that the launch needs: another try would not help. */
const refuseUnsuited = (request: LaunchRequest, cells: readonly Cell['record'][]): void => {
  const inZone = cells.filter(
    ({ state, zone }) => state === 'active' && (request.zone === undefined || zone === request.zone),
  );
  if (inZone.length === 0 || request.size === undefined) return;
  const zones = [...new Set(inZone.map(({ zone }) => zone))].join(', ');
  throw new PandoError(
    'Unsupported',
    `Your requested instance type (${request.size.name}) or tenancy (${request.tenancy.slice(0, 16)}) is not supported in your requested Availability Zone (${zones}).`,
  );
};

/** Every cell; a zone that none of them has may be that of a cell that has only just joined, so the list is fetched again. */
const cellsFor = async (parts: Parts, zone: string | undefined): Promise<readonly Cell[]> => {
  const known = await parts.cells.all();
  if (zone === undefined || known.some(({ record }) => record.zone === zone)) return known;
  await parts.cells.refreshAnew();
  return parts.cells.all();
};

/** The asked zone, by name or id, or the subnet's. */
const zoneOf = async (parts: Parts, call: Call): Promise<string | undefined> => {
  const { zone, zoneId, subnetId } = demandOf(call.input);
  if (zone !== undefined) return zone;
  if (zoneId !== undefined)
    return askZone(parts, call, `id/${zoneId}`, {
      action: 'DescribeAvailabilityZones',
      input: { ZoneIds: [zoneId] },
      read: (output) => textIn(listIn(output, 'AvailabilityZones')[0], 'ZoneName'),
    });
  if (subnetId === undefined) return undefined;
  return askZone(parts, call, `${call.caller.accountId}/${subnetId}`, {
    action: 'DescribeSubnets',
    input: { SubnetIds: [subnetId] },
    read: (output) => textIn(listIn(output, 'Subnets')[0], 'AvailabilityZone'),
  });
};

interface ZoneQuestion {
  readonly action: 'DescribeAvailabilityZones' | 'DescribeSubnets';
  readonly input: WireInput;
  read(output: WireInput): string | undefined;
}

/** Neither a subnet nor an id ever changes its zone, so an answer is kept. */
const askZone = async (
  parts: Parts,
  call: Call,
  cacheKey: string,
  { action, input, read }: ZoneQuestion,
): Promise<string | undefined> => {
  const known = parts.subnetZones.get(cacheKey);
  if (known !== undefined) return known;
  const lookup = backendCall(call, input, action);
  const found = read(outputOf(await parts.region.call(lookup, true), 'The region'));
  if (found !== undefined) parts.subnetZones.set(cacheKey, found);
  return found;
};

/**
 * Rule 4: the candidate that has this token, if the request is a repetition. One of the other cells has it only if none of the account's
 * own lived at the time, so those are asked where they live, and a dead one of them holds nobody up: rule 6 knows it.
 */
const findEarlier = async (
  parts: Parts,
  call: Call,
  token: string,
  { shard, others }: CellChoice<Cell>,
): Promise<Cell | undefined> => {
  const fate = parts.launches.get(call.caller.accountId, token);
  if (fate === undefined && call.attempt === 1 && parts.launches.complete) return undefined;
  // Only the very next attempt: between later ones another replica may have had this token accepted.
  if (fate?.state === 'refused' && fate.attempt + 1 === call.attempt) return undefined;
  const Filters = [{ Name: 'client-token', Values: [token.replaceAll(/[\\*?]/g, '\\$&')] }];
  const lookup = backendCall(call, { Filters }, 'DescribeInstances');
  const candidates = [...shard, ...others.filter(({ live }) => live).slice(0, shard.length)];
  const asked = await Promise.all(candidates.map((cell) => cell.call(lookup, true)));
  const at = asked.findIndex((outcome) => knowsToken(outcome));
  if (at >= 0) return candidates[at];
  if (!asked.slice(0, shard.length).some(cannotTell)) return undefined;
  throw unavailable(
    'A cell that may have accepted this client token before cannot be asked. Retry your request.',
  );
};

const cannotTell = (outcome: Outcome): boolean =>
  isUnanswered(outcome) || (outcome.state === 'refused' && outcome.error.status >= 500);

const knowsToken = (outcome: Outcome): boolean =>
  outcome.state === 'answered' && listIn(outcome.output, 'Reservations').length > 0;

/** Rule 6: the cell that has the token, as the cell that was asked found out. */
const holderIn = (outcome: Outcome): string | undefined =>
  outcome.state === 'refused' ? outcome.error.details?.tokenCellId : undefined;

const tryHolder = async (parts: Parts, call: Call, cellId: string): Promise<Answer> => {
  const holder = (await parts.cells.all()).find(({ record }) => record.cellId === cellId);
  if (holder === undefined)
    throw unavailable('The cell that has this client token is not known here. Retry your request.');
  return tryInTurn(parts, call, [holder], false);
};

const tryInTurn = async (
  parts: Parts,
  call: Call,
  cells: readonly Cell[],
  followHolder = true,
): Promise<Answer> => {
  const token = textIn(call.input, 'ClientToken') ?? call.requestId;
  const { accountId } = call.caller;
  let last: Outcome | undefined;
  for (const cell of cells) {
    const outcome = await cell.call(backendCall(call, inZoneOf(cell, call.input)), true);
    if (outcome.state === 'answered') {
      parts.launches.set(accountId, token, { state: 'accepted' });
      return { output: outcome.output, backend: outcome.backend };
    }
    if (outcome.state === 'uncertain') parts.launches.set(accountId, token, { state: 'uncertain' });
    const holder = holderIn(outcome);
    if (holder !== undefined && followHolder) return tryHolder(parts, call, holder);
    if (outcome.state === 'uncertain' || !mayGoOn(outcome)) outputOf(outcome, 'The cell of this request');
    if (outcome.state === 'refused' || last === undefined || last.state === 'undelivered') last = outcome;
  }
  parts.launches.set(accountId, token, { state: 'refused', attempt: call.attempt });
  outputOf(
    last ?? { state: 'undelivered', error: new PandoError('HostUnreachable', 'No cell is live.') },
    'Every cell that may take this request',
  );
  throw unavailable('No cell took this request. Retry your request.');
};

/**
 * A launch that leaves the zone open gets that of the cell: the region must resolve its subnet there, and the same
 * token meets the same parameters in that cell again.
 */
const inZoneOf = (cell: Cell, input: WireInput): WireInput => {
  const { zone, subnetId } = demandOf(input);
  // What a template leaves open its cell fills in: with or without the template, a token stands for what the client sent.
  if (isRecord(input.LaunchTemplate) || zone !== undefined || subnetId !== undefined) return input;
  const placement = isRecord(input.Placement) ? input.Placement : {};
  return { ...input, Placement: { ...placement, AvailabilityZone: cell.record.zone } };
};

const mayGoOn = (outcome: Outcome): boolean =>
  outcome.state === 'undelivered' ||
  (outcome.state === 'refused' && outcome.error.code === 'InsufficientInstanceCapacity');
