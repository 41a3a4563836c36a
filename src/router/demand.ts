/**
 * The demand indicator of S3.1: what a launch asks for, as far as it decides where it goes. One pure function of the request and the
 * list of cells, with one table of what is read and what it decides: any replica of the router gives the same answer.
 */
import { hash } from 'node:crypto';
import { defaultInstanceType, findSize, type InstanceSize } from '#contracts/instanceTypes.ts';
import type { CellRecord } from '#contracts/region.ts';
import type { WireInput } from '#wire/types.ts';
import { contentHash, textIn } from './request.ts';

/** What of the request is read. */
export interface Demand {
  /** A type of the catalogue or a custom size (S3.6); undefined: there is no such type, which the cell says in EC2's words. */
  readonly size: InstanceSize | undefined;
  readonly zone: string | undefined;
  /** The zone by its id, where its name is not given. */
  readonly zoneId: string | undefined;
  /** Without a zone, the subnet decides it. */
  readonly subnetId: string | undefined;
  readonly tenancy: string;
  /** What the order of an account's cells is hashed over: the client token, else the hash of the request's content. */
  readonly key: string;
}

interface Row<T> {
  /** Members of RunInstances, the first one that is given counts. */
  readonly members: readonly string[];
  /** `cells`: which cells come into question. `order`: in which order they are asked. */
  readonly decides: 'cells' | 'order';
  read(input: WireInput): T;
}

const primaryInterface = (input: WireInput): unknown => {
  const [primary]: unknown[] = Array.isArray(input.NetworkInterfaces) ? input.NetworkInterfaces : [];
  return primary;
};

/** The indicator's table: a row for each property. */
export const demandTable: { readonly [P in keyof Demand]: Row<Demand[P]> } = {
  size: {
    members: ['InstanceType'],
    decides: 'cells',
    read: (input) => findSize(textIn(input, 'InstanceType') ?? defaultInstanceType),
  },
  zone: {
    members: ['Placement.AvailabilityZone'],
    decides: 'cells',
    read: (input) => textIn(input.Placement, 'AvailabilityZone'),
  },
  zoneId: {
    members: ['Placement.AvailabilityZoneId'],
    decides: 'cells',
    read: (input) => textIn(input.Placement, 'AvailabilityZoneId'),
  },
  subnetId: {
    members: ['SubnetId', 'NetworkInterfaces.SubnetId'],
    decides: 'cells',
    read: (input) => textIn(input, 'SubnetId') ?? textIn(primaryInterface(input), 'SubnetId'),
  },
  tenancy: {
    members: ['Placement.Tenancy'],
    decides: 'cells',
    read: (input) => textIn(input.Placement, 'Tenancy') ?? 'default',
  },
  key: {
    members: ['ClientToken'],
    decides: 'order',
    read: (input) => textIn(input, 'ClientToken') ?? contentHash(input),
  },
};

/** Reads the indicator from a RunInstances input. */
export const demandOf = (input: WireInput): Demand => ({
  size: demandTable.size.read(input),
  zone: demandTable.zone.read(input),
  zoneId: demandTable.zoneId.read(input),
  subnetId: demandTable.subnetId.read(input),
  tenancy: demandTable.tenancy.read(input),
  key: demandTable.key.read(input),
});

/** A launch as the decision sees it: whose it is, and its demand with the zone that it came to. */
export type LaunchRequest = { readonly accountId: string } & Pick<
  Demand,
  'key' | 'size' | 'tenancy' | 'zone'
>;

export type Candidate = Pick<CellRecord, 'cellId' | 'zone' | 'state' | 'takes'>;

export interface CellChoice<C> {
  /** The account's own cells (S3.9), in the order in which this request is offered to them. */
  readonly shard: readonly C[];
  /** The others that could take it, in the account's order: for when none of its own lives. */
  readonly others: readonly C[];
}

/**
 * Which cells may take a launch, in which order. An account has `shardSize` of the cells that come into question, by rendezvous hash:
 * what it does to them is felt in no other cell, and few accounts have all their cells in common with it (shuffle sharding). A cell
 * that comes or goes changes at most one cell of an account's, and the order of no other. Which cells live does not count, so that a
 * repeated client token meets the cell that may hold it.
 */
export const chooseCells = <C extends Candidate>(
  request: LaunchRequest,
  cells: readonly C[],
  shardSize: number,
): CellChoice<C> => {
  const { accountId, key } = request;
  const fit = cells.filter((cell) => cell.state === 'active' && suits(request, cell));
  const ranked = byWeight(fit, ({ cellId }) => [accountId, cellId]);
  return {
    shard: byWeight(ranked.slice(0, shardSize), ({ cellId }) => [accountId, key, cellId]),
    others: ranked.slice(shardSize),
  };
};

/** Whether a cell of this make can take such a launch at all, however full it is. What a cell does not say excludes nothing. */
export const suits = ({ zone, size, tenancy }: Omit<LaunchRequest, 'accountId' | 'key'>, cell: Candidate) => {
  const { vcpusMax = Infinity, memoryMibMax = Infinity, tenancies } = cell.takes ?? {};
  if (zone !== undefined && cell.zone !== zone) return false;
  if (size !== undefined && (size.vcpusMilli > vcpusMax * 1000 || size.memoryMib > memoryMibMax))
    return false;
  return tenancies === undefined || tenancies.includes(tenancy);
};

/** The heaviest first. Weights are hashes, so they do not depend on the list's order. */
const byWeight = <C>(cells: readonly C[], over: (cell: C) => readonly string[]): readonly C[] =>
  cells
    .map((cell) => ({
      cell,
      weight: hash('sha256', JSON.stringify(over(cell))),
    }))
    .sort((a, b) => (a.weight < b.weight ? 1 : -1))
    .map(({ cell }) => cell);
