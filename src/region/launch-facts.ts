/** What nearly every launch asks of the tables, read by one statement. */
import { notedLaunch } from './account-cells.ts';
import type { MetadataDefaultsRow } from './resources/metadata-defaults.ts';
import type { Database, Row } from './schema.ts';
import { statement } from './statement.ts';

export type GroupFacts = Pick<Row<'security_group'>, 'group_id' | 'name' | 'vpc_id'>;
export type ImageFacts = Omit<Row<'image'>, 'created_at'>;
export type SubnetFacts = Omit<Row<'subnet'>, 'created_at'>;

export interface FactsRequest {
  readonly accountId: string;
  readonly imageId: string;
  /** Absent: the default one of the zone, else any default one. */
  readonly subnetId?: string | undefined;
  readonly zone?: string | undefined;
  /** Groups by id, and by name within the subnet's VPC. */
  readonly groupIds: readonly string[];
  readonly groupNames: readonly string[];
  readonly privateIp?: string | undefined;
  /** The cell in which the account is about to have instances. */
  readonly cellId?: string | undefined;
}

export interface LaunchFacts {
  readonly image: ImageFacts | null;
  readonly subnet: SubnetFacts | null;
  readonly defaults: MetadataDefaultsRow | null;
  readonly groups: readonly GroupFacts[];
  /** Addresses of the subnet that interfaces have. */
  readonly taken: number;
  /** Whether one of them is the wanted one. */
  readonly wanted_taken: boolean;
  /** Whether the cell takes launches; null: it is not known. */
  readonly open: boolean | null;
}

const read = statement<LaunchFacts>(`
  with ${notedLaunch('$1', '$5')},
    net as (
      select * from subnet where account_id = $1
        and case when $3::text is not null then subnet_id = $3
          else default_for_az and ($4::text is null or zone = $4) end
      order by zone limit 1)
  select
    (select row_to_json(i) from image i where i.image_id = $2) as image,
    (select row_to_json(n) from net n) as subnet,
    (select row_to_json(d) from account_metadata_defaults d where d.account_id = $1) as defaults,
    (select coalesce(json_agg(json_build_object('group_id', g.group_id, 'name', g.name, 'vpc_id', g.vpc_id)), '[]')
      from security_group g
      where g.account_id = $1 and (g.group_id = any($6::text[])
        or (g.vpc_id = (select vpc_id from net) and g.name = any($7::text[])))) as groups,
    (select count(*)::int from eni where subnet_id = (select subnet_id from net)) as taken,
    exists (select from eni where subnet_id = (select subnet_id from net) and ip = $8::text) as wanted_taken,
    (select open from cell_now) as open`);

/** Notes the account's cell too, so that the index has it whatever becomes of the launch; see account-cells.ts. */
export const readLaunchFacts = async (db: Database, request: FactsRequest): Promise<LaunchFacts> => {
  const { accountId, imageId, subnetId = null, zone = null, privateIp = null, cellId = null } = request;
  const { groupIds, groupNames } = request;
  const [found] = await read(db, accountId, imageId, subnetId, zone, cellId, groupIds, groupNames, privateIp);
  if (found === undefined) throw new Error('a statement without a condition gave no row');
  return found;
};
