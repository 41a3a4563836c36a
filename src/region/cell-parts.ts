/** What a cell asks of network state in parts. */
import { difference, knownOf } from '#base/network/needs.ts';
import type { Params, Result } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { regionContract } from '#contracts/region.ts';
import { vpcStateOf } from './interfaces.ts';
import type { Region } from './region.ts';
import { objectsForCell } from './vpc-parts.ts';

/** What leads a cell from what it has of a VPC to what its hosts need. */
export const vpcPartsFor = async (
  region: Region,
  { cellId, vpcId, has }: Params<typeof regionContract, 'region.vpcParts'>,
): Promise<Result<typeof regionContract, 'region.vpcParts'>> => {
  const cell = await region.db
    .selectFrom('cell')
    .select('number')
    .where('cell_id', '=', cellId)
    .executeTakeFirst();
  if (cell === undefined) throw new PandoError('NotFound', `Cell ${cellId} has not joined.`);
  const parts = region.vpcParts.of(await vpcStateOf(region, vpcId));
  const told = difference(
    region.vpcParts.recent.resolve(vpcId, knownOf(vpcId, has)),
    parts,
    objectsForCell(parts, cell.number),
  );
  const nothing = { vpcId, version: parts.places.version, set: [], removed: [] };
  return { objects: [...(told?.objects ?? [])], places: told?.places ?? nothing };
};
