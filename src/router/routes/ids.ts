/** Calls whose ids name their cells (S3.4): split, checked as a whole, carried out, joined. */

import { PandoError } from '#contracts/errors.ts';
import { cellNumberOf, isId, notFound, parseId } from '#contracts/ids.ts';
import type { KnownAction, WireInput } from '#wire/types.ts';
import { type CellIdKind, type IdParameter, isSafe } from '../actions.ts';
import type { Cell } from '../cell.ts';
import { outputOf } from '../outcome.ts';
import {
  type Answer,
  backendCall,
  type Call,
  idsIn,
  listIn,
  missingParameter,
  type Parts,
} from '../request.ts';

/** The ids of one request that belong to one cell. */
export interface Share {
  readonly cell: Cell;
  readonly ids: readonly string[];
}

/** How a cell is asked whether it has things of a kind. */
const lookups: Readonly<Record<CellIdKind, { readonly describe: KnownAction; readonly ids: string }>> = {
  instance: { describe: 'DescribeInstances', ids: 'InstanceIds' },
  volume: { describe: 'DescribeVolumes', ids: 'VolumeIds' },
  capacityReservation: { describe: 'DescribeCapacityReservations', ids: 'CapacityReservationIds' },
  host: { describe: 'DescribeHosts', ids: 'HostIds' },
  instanceProfileAssociation: {
    describe: 'DescribeIamInstanceProfileAssociations',
    ids: 'AssociationIds',
  },
};

/**
 * Sends the request to the one cell of its ids; with ids of several cells, to each its own, after all of them
 * have said that theirs exist. A cell that cannot be reached fails the whole request before anything changed.
 */
export const callByIds = async (
  parts: Parts,
  call: Call,
  route: { readonly ids: IdParameter; readonly list?: string; readonly more?: string },
): Promise<Answer> => {
  const ids = idsIn(call.input, route.ids);
  if (ids.length === 0) throw noIds(route.ids);
  const shares = await shareOut(parts, ids, route.ids.kind);
  if (shares.length > 1 && !isSafe(call.action)) await checkExist(call, shares, route.ids.kind);
  const outputs = await callShares(call, shares, (share) =>
    shares.length === 1 ? call.input : { ...call.input, [route.ids.name]: share.ids },
  );
  return {
    output: route.more === undefined ? join(outputs, route.list) : joinBoth(outputs, route.list, route.more),
    backend: shares.map(({ cell }) => cell.record.cellId).join(),
  };
};

/** EC2 has words of its own for a list that is empty. */
const noIds = ({ name }: IdParameter): PandoError =>
  name === 'InstanceIds'
    ? new PandoError('InvalidParameterCombination', 'No instances specified')
    : missingParameter(name);

/** Groups ids by the cell that they name. @throws EC2's errors for malformed ids and for cells that do not exist. */
export const shareOut = async (
  parts: Parts,
  ids: readonly string[],
  kind: CellIdKind,
): Promise<readonly Share[]> => {
  for (const id of ids) parseId(kind, id);
  const byNumber = Map.groupBy(ids, (id) => cellNumberIn(id, kind));
  const shares: Share[] = [];
  const unknown = new Set<string>();
  for (const [number, own] of byNumber) {
    const cell = number === undefined ? undefined : await parts.cells.byNumber(number);
    if (cell === undefined) for (const id of own) unknown.add(id);
    else shares.push({ cell, ids: own });
  }
  if (unknown.size > 0) throw notFound(kind, [...unknown]);
  return shares;
};

/** Asks every cell whether its ids exist, so that a request changes everything that it names or nothing. */
export const checkExist = async (call: Call, shares: readonly Share[], kind: CellIdKind): Promise<void> => {
  const { describe, ids: parameter } = lookups[kind];
  const asked = shares.map(async ({ cell, ids }) => {
    const lookup = backendCall(call, { [parameter]: [...new Set(ids)] }, describe);
    outputOf(await cell.call(lookup, true), cell.record.cellId);
  });
  await firstError(asked);
};

/** Sends each cell its share. @throws the first error in the order of the ids, once all have answered. */
export const callShares = async (
  call: Call,
  shares: readonly Share[],
  inputOf: (share: Share) => WireInput,
): Promise<readonly WireInput[]> =>
  firstError(
    shares.map(async (share) => {
      const { cell } = share;
      const outcome = await cell.call(backendCall(call, inputOf(share)), isSafe(call.action));
      return outputOf(outcome, `${cell.record.cellId}, which owns ${share.ids[0]},`);
    }),
  );

/** One output of several: the named list joined, everything else from the first. */
export const join = (outputs: readonly WireInput[], list: string | undefined): WireInput => {
  const [first = {}] = outputs;
  if (list === undefined || outputs.length < 2) return first;
  return { ...first, [list]: outputs.flatMap((output) => listIn(output, list)) };
};

/** Of an answer with two lists: what was done, and what was not. */
const joinBoth = (outputs: readonly WireInput[], list: string | undefined, more: string): WireInput => ({
  ...join(outputs, list),
  [more]: outputs.flatMap((output) => listIn(output, more)),
});

/** Waits for all of them, so that nothing goes on behind an answer. */
const firstError = async <T>(promises: readonly Promise<T>[]): Promise<T[]> => {
  await Promise.allSettled(promises);
  return Promise.all(promises);
};

/** Ids that no cell can have made (EC2's old ones of eight digits) name none. */
const cellNumberIn = (id: string, kind: CellIdKind): number | undefined =>
  isId(kind, id) ? cellNumberOf(id) : undefined;
