/** CreateTags and DeleteTags: each resource's tags are where the resource is. */
import { checkTaggedId, idKinds } from '#contracts/ids.ts';
import { type CellIdKind, isSafe } from '../actions.ts';
import { outputOf } from '../outcome.ts';
import { type Answer, backendCall, type Call, idsIn, missingParameter, type Parts } from '../request.ts';
import { callShares, checkExist, type Share, shareOut } from './ids.ts';

/**
 * Splits the resources by owner. With more than one owner: cells are asked whether theirs exist, then the
 * region does its part, which it may refuse as a whole, then the cells do theirs. A dry run ends at the first owner.
 */
export const tag = async (parts: Parts, call: Call): Promise<Answer> => {
  const ids = idsIn(call.input, { name: 'Resources', kind: 'instance' });
  if (ids.length === 0) throw missingParameter('ResourceId');
  for (const id of ids) checkTaggedId(id);
  const { owned, rest } = byOwner(ids);
  const byKind = [];
  for (const { kind, ids: own } of owned) byKind.push({ kind, shares: await shareOut(parts, own, kind) });
  const shares = byCell(byKind.flatMap(({ shares: own }) => own));
  if (shares.length + (rest.length > 0 ? 1 : 0) > 1) {
    for (const { kind, shares: own } of byKind) await checkExist(call, own, kind);
  }
  const outputs = rest.length > 0 ? [await tagInRegion(parts, call, rest)] : [];
  outputs.push(...(await callShares(call, shares, (share) => ({ ...call.input, Resources: share.ids }))));
  const owners = [...(rest.length > 0 ? ['region'] : []), ...shares.map(({ cell }) => cell.record.cellId)];
  return { output: outputs[0] ?? {}, backend: owners.join() };
};

/** One share for each cell: instances and volumes of one cell change together or not at all. */
const byCell = (shares: readonly Share[]): readonly Share[] =>
  [...Map.groupBy(shares, ({ cell }) => cell)].map(([cell, own]) => ({
    cell,
    ids: own.flatMap(({ ids }) => ids),
  }));

/** What cells own. */
const taggedKinds = [
  'instance',
  'volume',
  'capacityReservation',
  'host',
] as const satisfies readonly CellIdKind[];

const byOwner = (ids: readonly string[]) => {
  const is = (kind: CellIdKind, id: string): boolean => id.startsWith(`${idKinds[kind].prefix}-`);
  return {
    owned: taggedKinds.map((kind) => ({ kind, ids: ids.filter((id) => is(kind, id)) })),
    rest: ids.filter((id) => !taggedKinds.some((kind) => is(kind, id))),
  };
};

const tagInRegion = async (parts: Parts, call: Call, ids: readonly string[]) =>
  outputOf(
    await parts.region.call(backendCall(call, { ...call.input, Resources: ids }), isSafe(call.action)),
    'The region',
  );
