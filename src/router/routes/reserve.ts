/**
 * Reservations of capacity: to a cell of the zone, by the same order as a launch, and to the next where that one has no room. One with a
 * client token first asks the candidates which of them has it: a repetition never makes a second one.
 */

import type { ErrorCode } from '#contracts/errorCatalogue.ts';
import { PandoError } from '#contracts/errors.ts';
import type { KnownAction, WireInput } from '#wire/types.ts';
import type { Cell } from '../cell.ts';
import { type Outcome, outputOf, unavailable } from '../outcome.ts';
import { type Answer, backendCall, type Call, listIn, type Parts, textIn } from '../request.ts';
import { choiceOf, liveOf } from './launch.ts';

interface ReserveRoute {
  readonly refusal: ErrorCode;
  readonly describe: KnownAction;
  /** The name of its parameter for filters. */
  readonly filters: string;
  readonly list: string;
}

export const reserve = async (parts: Parts, call: Call, route: ReserveRoute): Promise<Answer> => {
  const zone = textIn(call.input, 'AvailabilityZone');
  const zoneId = textIn(call.input, 'AvailabilityZoneId');
  if (zone === undefined && zoneId === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter AvailabilityZone');
  const token = textIn(call.input, 'ClientToken');
  const { InstanceType, Tenancy } = call.input;
  const Placement = { AvailabilityZone: zone, AvailabilityZoneId: zoneId, Tenancy };
  const demanded = { ...call, input: { InstanceType, Placement } };
  const choice = await choiceOf(parts, demanded, token ?? call.requestId);
  if (token === undefined) return tryEach(call, liveOf(parts, choice), route);
  return parts.launches.oneByOne(call.caller.accountId, `${call.action}/${token}`, async () => {
    const earlier = await holderOf(call, token, [...choice.shard, ...choice.others], route);
    return tryEach(call, earlier === undefined ? liveOf(parts, choice) : [earlier], route);
  });
};

/** @throws Unavailable where a candidate that may have the token cannot be asked, and none of the others has it */
const holderOf = async (
  call: Call,
  token: string,
  candidates: readonly Cell[],
  { describe, filters, list }: ReserveRoute,
): Promise<Cell | undefined> => {
  if (candidates.length < 2) return candidates[0];
  const byToken = [{ Name: 'client-token', Values: [token.replaceAll(/[\\*?]/g, '\\$&')] }];
  const lookup = backendCall(call, { [filters]: byToken }, describe);
  const asked = await Promise.all(candidates.map((cell) => cell.call(lookup, true)));
  const at = asked.findIndex(
    (outcome) => outcome.state === 'answered' && listIn(outcome.output, list).length > 0,
  );
  if (at >= 0) return candidates[at];
  if (asked.every((outcome) => outcome.state === 'answered')) return undefined;
  throw unavailable(
    'A cell that may have accepted this client token before cannot be asked. Retry your request.',
  );
};

/** The zone by the name that the cell has, so that all candidates are sent what they take for their own. */
const inZoneOf = (cell: Cell, input: WireInput): WireInput => ({
  ...input,
  AvailabilityZone: cell.record.zone,
});

const tryEach = async (call: Call, cells: readonly Cell[], { refusal }: ReserveRoute): Promise<Answer> => {
  // Without a token of the client's, the request's own id keeps a second processor from making it twice.
  const token = textIn(call.input, 'ClientToken') ?? call.requestId;
  let last: Outcome | undefined;
  for (const cell of cells) {
    const input = { ...inZoneOf(cell, call.input), ClientToken: token };
    last = await cell.call(backendCall(call, input), true);
    if (last.state === 'answered') return { output: last.output, backend: last.backend };
    const noRoom = last.state === 'refused' && last.error.code === refusal;
    if (!noRoom && last.state !== 'undelivered') break;
  }
  if (last === undefined) throw unavailable('No cell of the zone is live. Retry your request.');
  return { output: outputOf(last, 'Every cell of the zone'), backend: '' };
};
