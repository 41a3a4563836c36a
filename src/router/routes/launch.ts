/**
 * RunInstances: to the cell of the demand, and when it has no room or is down, to at most k others (S3.8).
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
import { chooseCells, demandOf, launchKey } from '../chooseCells.ts';
import { isRecord, isUnanswered, type Outcome, outputOf, unavailable } from '../outcome.ts';
import { type Answer, backendCall, type Call, listIn, type Parts, textIn } from '../request.ts';
import { shareOut } from './ids.ts';
import { demandedInput } from './launchTemplate.ts';

/** Candidates beyond those that may be tried, to take the place of dead ones. */
const spareCells = 2;

export const launch = (parts: Parts, call: Call): Promise<Answer> =>
  call.pendingSeconds === undefined || call.input.DryRun === true
    ? launchNow(parts, call)
    : launchNow(parts, call).catch((error: unknown) => orWait(parts, call, error));

/** No room: a request is made to wait in the cell that would have been asked first, and the error names it. */
const orWait = async (parts: Parts, call: Call, thrown: unknown): Promise<never> => {
  const error = PandoError.from(thrown);
  if (error.code !== 'InsufficientInstanceCapacity' || error.details?.pendingId !== undefined) throw thrown;
  const demand = await demandedInput(parts, call);
  const [home] = liveOf(parts, await candidatesOf(parts, { ...call, input: demand }, launchKey(call.input)));
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
const offeringCell = async (parts: Parts, offerId: string): Promise<readonly Cell[]> => {
  const cell = await parts.cells.byNumber(cellNumberOf(offerId));
  if (cell === undefined) throw notFound('capacityOffer', offerId);
  return [cell];
};

const launchNow = async (parts: Parts, call: Call): Promise<Answer> => {
  const token = textIn(call.input, 'ClientToken');
  const key = launchKey(call.input);
  const demand = await demandedInput(parts, call);
  if (token === undefined) {
    const input = { ...call.input, ClientToken: call.requestId };
    const candidates = await cellsOf(parts, { ...call, input: demand }, key);
    return tryInTurn(parts, { ...call, input }, liveOf(parts, candidates));
  }
  return parts.launches.oneByOne(call.caller.accountId, token, async () => {
    const candidates = await cellsOf(parts, { ...call, input: demand }, key);
    const earlier = await findEarlier(parts, call, token, candidates);
    return tryInTurn(parts, call, earlier === undefined ? liveOf(parts, candidates) : [earlier]);
  });
};

export const liveOf = (parts: Parts, candidates: readonly Cell[]): readonly Cell[] =>
  candidates.filter(({ live }) => live).slice(0, 1 + parts.otherCellsMax);

const cellsOf = (parts: Parts, call: Call, key: string): Promise<readonly Cell[]> =>
  call.offerId === undefined ? namedOr(parts, call, key) : offeringCell(parts, call.offerId);

/** The cell of the reservation or the dedicated host that the launch names: no other has it. */
const namedOr = async (parts: Parts, call: Call, key: string): Promise<readonly Cell[]> => {
  const { hostId, reservationId } = demandOf(call.input);
  const [kind, id] =
    hostId === undefined ? (['capacityReservation', reservationId] as const) : (['host', hostId] as const);
  if (id === undefined) return candidatesOf(parts, call, key);
  return (await shareOut(parts, [id], kind)).map(({ cell }) => cell);
};

export const candidatesOf = async (parts: Parts, call: Call, key: string): Promise<readonly Cell[]> => {
  const zone = await zoneOf(parts, call);
  const cells = await cellsFor(parts, zone);
  if (zone !== undefined && cells.length > 0 && !cells.some(({ record }) => record.zone === zone))
    throw new PandoError('InvalidParameterValue', `Invalid availability zone: [${zone.slice(0, 64)}]`);
  const byId = new Map(cells.map((cell) => [cell.record.cellId, cell]));
  const request = { accountId: call.caller.accountId, key, zone };
  const chosen = chooseCells(
    request,
    cells.map(({ record }) => record),
  );
  return chosen
    .slice(0, 1 + parts.otherCellsMax + spareCells)
    .flatMap(({ cellId }) => byId.get(cellId) ?? []);
};

/** Every cell; a zone that none of them has may be that of a cell that has only just joined, so the list is fetched again. */
const cellsFor = async (parts: Parts, zone: string | undefined): Promise<readonly Cell[]> => {
  const known = await parts.cells.all();
  if (zone === undefined || known.some(({ record }) => record.zone === zone)) return known;
  await parts.cells.refresh();
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

/** Rule 4: the candidate that has this token, if the request is a repetition. */
const findEarlier = async (
  parts: Parts,
  call: Call,
  token: string,
  candidates: readonly Cell[],
): Promise<Cell | undefined> => {
  const fate = parts.launches.get(call.caller.accountId, token);
  if (fate === undefined && call.attempt === 1 && parts.launches.complete) return undefined;
  // Only the very next attempt: between later ones another replica may have had this token accepted.
  if (fate?.state === 'refused' && fate.attempt + 1 === call.attempt) return undefined;
  const Filters = [{ Name: 'client-token', Values: [token.replaceAll(/[\\*?]/g, '\\$&')] }];
  const lookup = backendCall(call, { Filters }, 'DescribeInstances');
  const asked = await Promise.all(candidates.map((cell) => cell.call(lookup, true)));
  const at = asked.findIndex((outcome) => knowsToken(outcome));
  if (at >= 0) return candidates[at];
  if (!asked.some(cannotTell)) return undefined;
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
  let last: Outcome = { state: 'undelivered', error: new PandoError('HostUnreachable', 'No cell is live.') };
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
    if (outcome.state === 'refused' || last.state === 'undelivered') last = outcome;
  }
  parts.launches.set(accountId, token, { state: 'refused', attempt: call.attempt });
  outputOf(last, 'Every cell that may take this request');
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
