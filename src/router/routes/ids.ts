/** Calls whose ids name their cells (S3.4): split, checked as a whole, carried out, joined. */

import { type ErrorCode, PandoError } from '#contracts/errors.ts';
import { cellNumberOf, isId } from '#contracts/ids.ts';
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

interface KindFacts {
  readonly prefix: string;
  readonly noun: string;
  readonly malformed: ErrorCode;
  readonly notFound: ErrorCode;
  readonly describe: KnownAction;
  readonly describeIds: string;
}

const kinds: Readonly<Record<CellIdKind, KindFacts>> = {
  instance: {
    prefix: 'i',
    noun: 'instance',
    malformed: 'InvalidInstanceID.Malformed',
    notFound: 'InvalidInstanceID.NotFound',
    describe: 'DescribeInstances',
    describeIds: 'InstanceIds',
  },
  volume: {
    prefix: 'vol',
    noun: 'volume',
    malformed: 'InvalidVolumeID.Malformed',
    notFound: 'InvalidVolume.NotFound',
    describe: 'DescribeVolumes',
    describeIds: 'VolumeIds',
  },
};

/**
 * Sends the request to the one cell of its ids; with ids of several cells, to each its own, after all of them
 * have said that theirs exist. A cell that cannot be reached fails the whole request before anything changed.
 */
export const callByIds = async (
  parts: Parts,
  call: Call,
  route: { readonly ids: IdParameter; readonly list?: string },
): Promise<Answer> => {
  const ids = idsIn(call.input, route.ids);
  if (ids.length === 0) throw missingParameter(route.ids.name);
  const shares = await shareOut(parts, ids, route.ids.kind);
  if (shares.length > 1 && !isSafe(call.action)) await checkExist(call, shares, route.ids.kind);
  const outputs = await callShares(call, shares, (share) =>
    shares.length === 1 ? call.input : { ...call.input, [route.ids.name]: share.ids },
  );
  return {
    output: join(outputs, route.list),
    backend: shares.map(({ cell }) => cell.record.cellId).join(),
  };
};

/** Groups ids by the cell that they name. @throws EC2's errors for malformed ids and for cells that do not exist. */
export const shareOut = async (
  parts: Parts,
  ids: readonly string[],
  kind: CellIdKind,
): Promise<readonly Share[]> => {
  const byNumber = Map.groupBy(ids, (id) => checkedCellNumber(id, kind));
  const shares: Share[] = [];
  const unknown: string[] = [];
  for (const [number, own] of byNumber) {
    const cell = await parts.cells.byNumber(number);
    if (cell === undefined) unknown.push(...own);
    else shares.push({ cell, ids: own });
  }
  if (unknown.length > 0) throw notFound(unknown, kind);
  return shares;
};

/** Asks every cell whether its ids exist, so that a request changes everything that it names or nothing. */
export const checkExist = async (call: Call, shares: readonly Share[], kind: CellIdKind): Promise<void> => {
  const { describe, describeIds } = kinds[kind];
  const lookups = shares.map(async ({ cell, ids }) => {
    const lookup = backendCall(call, { [describeIds]: [...new Set(ids)] }, describe);
    outputOf(await cell.call(lookup, true), cell.record.cellId);
  });
  await firstError(lookups);
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

/** Waits for all of them, so that nothing goes on behind an answer. */
const firstError = async <T>(promises: readonly Promise<T>[]): Promise<T[]> => {
  await Promise.allSettled(promises);
  return Promise.all(promises);
};

const checkedCellNumber = (id: string, kind: CellIdKind): number => {
  const { prefix, malformed } = kinds[kind];
  if (isId(kind, id)) return cellNumberOf(id);
  throw new PandoError(malformed, `Invalid id: "${id.slice(0, 64)}" (expecting "${prefix}-...")`);
};

const notFound = (ids: readonly string[], kind: CellIdKind): PandoError => {
  const { noun, notFound: code } = kinds[kind];
  const text = ids.slice(0, 10).join(', ');
  return new PandoError(
    code,
    ids.length === 1 ? `The ${noun} ID '${text}' does not exist` : `The ${noun} IDs '${text}' do not exist`,
  );
};
