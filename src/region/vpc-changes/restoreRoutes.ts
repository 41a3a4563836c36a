/** Puts the routes of a subnet back as a former version of it has them: in the route table that it goes by, which other subnets may share. */
import { sql } from 'kysely';
import type { z } from 'zod';
import { PandoError } from '#contracts/errors.ts';
import type { subnetBody } from '#contracts/network-objects.ts';
import type { RegionTransaction } from '../schema.ts';
import { restoreAssociation } from './restoreAssociation.ts';

type FormerRoute = z.output<typeof subnetBody>['routes'][number];

interface StoredRoute {
  destination: string;
  kind: 'local' | 'internet-gateway' | 'interface';
  target_id: string | null;
  origin: string;
}

export interface FormerRoutes {
  readonly subnetId: string;
  readonly vpcId: string;
  /** Of the VPC, at which devices were told `former`. */
  readonly version: number;
  readonly former: readonly FormerRoute[];
}

/** Answers what goes and comes; empty: it is so now. @throws IncorrectState: what a route led to is gone */
export const restoreRoutes = async (
  tx: RegionTransaction,
  { subnetId, vpcId, version, former }: FormerRoutes,
): Promise<string[]> => {
  const associated = await restoreAssociation(tx, { subnetId, vpcId, version });
  const tableId = await tableOf(tx, subnetId, vpcId);
  const { rows: present } = await sql<StoredRoute>`
    select destination, kind, target_id, origin from route where route_table_id = ${tableId}`.execute(tx);
  const now = new Map(present.map((route) => [route.destination, route]));
  const wanted = former.map((route) => storedOf(route, now.get(route.destination)));
  const destinations = new Set(wanted.map(({ destination }) => destination));
  const gone = present.filter(
    ({ destination, origin }) => !destinations.has(destination) && origin !== 'CreateRouteTable',
  );
  const added = wanted.filter((route) => !isSame(route, now.get(route.destination)));
  for (const route of added) await checkTarget(tx, vpcId, route);
  const replaced = added.flatMap(({ destination }) => now.get(destination) ?? []);
  const lines = [
    ...[...gone, ...replaced].map((route) => `- ${textOf(route)}`),
    ...added.map((route) => `+ ${textOf(route)}`),
  ];
  const removed = [...gone, ...replaced].map(({ destination }) => destination);
  if (removed.length > 0)
    await sql`delete from route where route_table_id = ${tableId} and destination = any(${removed}::text[])`.execute(
      tx,
    );
  for (const { destination, kind, target_id, origin } of added)
    await sql`insert into route (route_table_id, destination, kind, target_id, origin)
      values (${tableId}, ${destination}, ${kind}, ${target_id}, ${origin})`.execute(tx);
  return [...associated, ...lines, ...(lines.length === 0 ? [] : await shared(tx, tableId, subnetId))];
};

/** Its own, or the VPC's main one. */
const tableOf = async (tx: RegionTransaction, subnetId: string, vpcId: string): Promise<string> => {
  const { rows } = await sql<{ route_table_id: string }>`
    select route_table_id from route_table_association
    where vpc_id = ${vpcId} and (subnet_id = ${subnetId} or subnet_id is null)
    order by subnet_id is null limit 1`.execute(tx);
  const [row] = rows;
  if (row === undefined) throw new PandoError('IncorrectState', `${subnetId} goes by no route table.`);
  return row.route_table_id;
};

const storedOf = ({ destination, target }: FormerRoute, now: StoredRoute | undefined): StoredRoute => {
  const origin = now?.origin ?? 'CreateRoute';
  if (target.kind === 'local') return { destination, kind: 'local', target_id: null, origin };
  if (target.kind === 'interface') return { destination, kind: 'interface', target_id: target.eniId, origin };
  if (target.kind === 'internet-gateway')
    return { destination, kind: 'internet-gateway', target_id: target.id, origin };
  // It led nowhere then: what it was to lead to is not known, and what is there now is left.
  if (now !== undefined) return now;
  throw new PandoError(
    'IncorrectState',
    `The route to ${destination} led nowhere in that version, and is there no more: it cannot be put back.`,
  );
};

const isSame = (route: StoredRoute, now: StoredRoute | undefined): boolean =>
  now?.kind === route.kind && now.target_id === route.target_id;

const textOf = ({ destination, kind, target_id }: StoredRoute): string =>
  `route ${destination} ${target_id ?? kind}`;

const checkTarget = async (
  tx: RegionTransaction,
  vpcId: string,
  { destination, kind, target_id }: StoredRoute,
): Promise<void> => {
  if (kind === 'local') return checkRange(tx, vpcId, destination);
  const { rows } =
    kind === 'interface'
      ? await sql`select 1 from eni where eni_id = ${target_id} and vpc_id = ${vpcId}`.execute(tx)
      : await sql`select 1 from internet_gateway where internet_gateway_id = ${target_id} and vpc_id = ${vpcId}`.execute(
          tx,
        );
  if (rows.length === 0)
    throw new PandoError(
      'IncorrectState',
      `A route leads to ${target_id}, which is not in the VPC any more.`,
    );
};

/** Local is what lies in a range of the VPC. */
const checkRange = async (tx: RegionTransaction, vpcId: string, destination: string): Promise<void> => {
  const { rows } = await sql`
    select 1 from vpc where vpc_id = ${vpcId} and cidr = ${destination}
    union all select 1 from vpc_cidr_block where vpc_id = ${vpcId} and cidr = ${destination}`.execute(tx);
  if (rows.length === 0)
    throw new PandoError(
      'IncorrectState',
      `The VPC has the range ${destination} no more: put its own settings back first (vpc/${vpcId}).`,
    );
};

const sharedShownMax = 16;

/** Whoever looks sees which other subnets it changes. */
const shared = async (tx: RegionTransaction, tableId: string, subnetId: string): Promise<string[]> => {
  const { rows } = await sql<{ subnet_id: string }>`
    select s.subnet_id from subnet s
    join route_table_association a on a.vpc_id = s.vpc_id and a.subnet_id is not distinct from
      (select own.subnet_id from route_table_association own where own.subnet_id = s.subnet_id)
    where a.route_table_id = ${tableId} and s.subnet_id <> ${subnetId}
    order by s.subnet_id limit ${sharedShownMax}`.execute(tx);
  return rows.map(({ subnet_id }) => `~ also of ${subnet_id}, which goes by the same ${tableId}`);
};
