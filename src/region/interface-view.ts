/** Network interfaces with everything that EC2 shows of them, read in one statement. */
import { sql } from 'kysely';
import type { ValidTag } from '#wire/tags.ts';
import type { Out } from '#wire/types.ts';
import type { NetworkSettings } from './network-state.ts';
import type { Database, Row } from './schema.ts';

export type InterfaceRow = Row<'eni'> & {
  zone: string;
  groups: { GroupId: string; GroupName: string }[];
  public_ip: string | null;
  allocation_id: string | null;
  association_id: string | null;
  /** Whether the VPC's attributes give its interfaces DNS names. */
  named: boolean;
  tags: ValidTag[];
};

type InstanceNetworkInterface = NonNullable<
  NonNullable<
    NonNullable<Out<'DescribeInstances'>['Reservations']>[number]['Instances']
  >[number]['NetworkInterfaces']
>[number];

export interface InterfacesWanted {
  readonly instanceIds?: readonly string[];
  readonly eniIds?: readonly string[] | undefined;
  /** Those whose ids come after it, at most so many. */
  readonly after?: string | undefined;
  readonly limit?: number | undefined;
}

/** The account's interfaces by their ids; with ids (of instances, or their own), only those. */
export const readInterfaces = async (
  db: Database,
  accountId: string,
  only: InterfacesWanted = {},
): Promise<readonly InterfaceRow[]> => {
  const { instanceIds, eniIds, after, limit } = only;
  const ofInstances =
    instanceIds === undefined ? sql`` : sql`and e.instance_id = any (${instanceIds}::text[])`;
  const named =
    eniIds === undefined || eniIds.length === 0 ? sql`` : sql`and e.eni_id = any (${eniIds}::text[])`;
  const next = after === undefined ? sql`` : sql`and e.eni_id > ${after}`;
  const { rows } = await sql<InterfaceRow>`
    select e.*, s.zone, p.ip as public_ip, p.allocation_id, p.association_id,
      v.dns_support and v.dns_hostnames as named,
      (select coalesce(json_agg(json_build_object('GroupId', g.group_id, 'GroupName', g.name) order by g.group_id), '[]')
        from security_group g where g.group_id = any (e.group_ids)) as groups,
      (select coalesce(json_agg(json_build_object('Key', t.key, 'Value', t.value) order by t.key), '[]')
        from tag t where t.resource_id = e.eni_id and t.account_id = e.account_id) as tags
    from eni e
    join subnet s using (subnet_id)
    join vpc v on v.vpc_id = e.vpc_id
    left join public_address p on p.eni_id = e.eni_id
    where e.account_id = ${accountId} ${ofInstances} ${named} ${next}
    order by e.eni_id ${limit === undefined ? sql`` : sql`limit ${limit}`}`.execute(db);
  return rows;
};

type Named = Pick<InterfaceRow, 'ip' | 'public_ip' | 'named'>;

/** The interface's private name; absent where its VPC's DNS attributes give none. */
export const privateDnsName = (eni: Named, { domainName }: NetworkSettings): string | undefined =>
  eni.named ? `ip-${eni.ip.replaceAll('.', '-')}.${domainName}` : undefined;

/** The name of its public address; empty, as EC2 gives it, where there is none. */
export const publicDnsName = (eni: Named, { publicDomainName }: NetworkSettings): string =>
  eni.named && eni.public_ip !== null && publicDomainName !== undefined
    ? `ec2-${eni.public_ip.replaceAll('.', '-')}.${publicDomainName}`
    : '';

/** `amazon` owns an address that was assigned automatically, the account an elastic one. */
const ownerOf = (eni: InterfaceRow): string => (eni.allocation_id === null ? 'amazon' : eni.account_id);

export const associationOf = (eni: InterfaceRow, settings: NetworkSettings) =>
  eni.public_ip === null
    ? undefined
    : { PublicIp: eni.public_ip, PublicDnsName: publicDnsName(eni, settings), IpOwnerId: ownerOf(eni) };

/** What EC2 shows of an interface wherever it shows one; `association` is said more or less fully. */
export const commonView = <A>(eni: InterfaceRow, settings: NetworkSettings, association: A | undefined) => {
  const dnsName = privateDnsName(eni, settings);
  const name = dnsName === undefined ? {} : { PrivateDnsName: dnsName };
  const associated = association === undefined ? {} : { Association: association };
  return {
    NetworkInterfaceId: eni.eni_id,
    OwnerId: eni.account_id,
    VpcId: eni.vpc_id,
    SubnetId: eni.subnet_id,
    Description: eni.description,
    InterfaceType: 'interface' as const,
    MacAddress: eni.mac,
    PrivateIpAddress: eni.ip,
    ...name,
    PrivateIpAddresses: [{ Primary: true, PrivateIpAddress: eni.ip, ...name, ...associated }],
    Ipv6Addresses: [],
    SourceDestCheck: eni.source_dest_check,
    Status: 'in-use' as const,
    Groups: eni.groups,
    ...associated,
  };
};

/** How it is attached: always as the first of its instance. */
export const attachmentView = (eni: InterfaceRow) => ({
  AttachmentId: eni.attachment_id,
  AttachTime: eni.created_at,
  DeleteOnTermination: true,
  DeviceIndex: 0,
  NetworkCardIndex: 0,
  Status: 'attached' as const,
});

/** An interface as EC2 shows it inside an instance; its tags are not shown there, but filters look at them. */
export const instanceInterface = (eni: InterfaceRow, settings: NetworkSettings): InstanceNetworkInterface => {
  const tagged = { TagSet: eni.tags };
  return {
    ...tagged,
    ...commonView(eni, settings, associationOf(eni, settings)),
    Attachment: attachmentView(eni),
  };
};
