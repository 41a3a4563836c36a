/** Network interfaces with everything that EC2 shows of them, read in one statement. */
import { sql } from 'kysely';
import type { Out } from '#wire/types.ts';
import type { Database, Row } from './schema.ts';

export type InterfaceRow = Row<'eni'> & {
  zone: string;
  groups: { GroupId: string; GroupName: string }[];
  public_ip: string | null;
  allocation_id: string | null;
  association_id: string | null;
  dns_hostnames: boolean;
};

type InstanceNetworkInterface = NonNullable<
  NonNullable<
    NonNullable<Out<'DescribeInstances'>['Reservations']>[number]['Instances']
  >[number]['NetworkInterfaces']
>[number];

/** The account's interfaces; with `instanceIds`, only theirs. */
export const readInterfaces = async (
  db: Database,
  accountId: string,
  instanceIds?: readonly string[],
): Promise<readonly InterfaceRow[]> => {
  const only = instanceIds === undefined ? sql`` : sql`and e.instance_id = any (${instanceIds}::text[])`;
  const { rows } = await sql<InterfaceRow>`
    select e.*, s.zone, p.ip as public_ip, p.allocation_id, p.association_id, v.dns_hostnames,
      (select coalesce(json_agg(json_build_object('GroupId', g.group_id, 'GroupName', g.name) order by g.group_id), '[]')
        from security_group g where g.group_id = any (e.group_ids)) as groups
    from eni e
    join subnet s using (subnet_id)
    join vpc v on v.vpc_id = e.vpc_id
    left join public_address p on p.eni_id = e.eni_id
    where e.account_id = ${accountId} ${only}
    order by e.eni_id`.execute(db);
  return rows;
};

export const privateDnsName = (eni: Pick<InterfaceRow, 'ip'>, domainName: string): string =>
  `ip-${eni.ip.replaceAll('.', '-')}.${domainName}`;

/** `amazon` owns an address that was assigned automatically, the account an elastic one. */
const ownerOf = (eni: InterfaceRow): string => (eni.allocation_id === null ? 'amazon' : eni.account_id);

/** No public DNS zone is served, so none is named: an empty name, as EC2 gives where DNS hostnames are off. */
export const associationOf = (eni: InterfaceRow) =>
  eni.public_ip === null
    ? undefined
    : { PublicIp: eni.public_ip, PublicDnsName: '', IpOwnerId: ownerOf(eni) };

/** An interface as EC2 shows it inside an instance. */
export const instanceInterface = (eni: InterfaceRow, domainName: string): InstanceNetworkInterface => {
  const association = associationOf(eni);
  const dnsName = privateDnsName(eni, domainName);
  return {
    NetworkInterfaceId: eni.eni_id,
    OwnerId: eni.account_id,
    VpcId: eni.vpc_id,
    SubnetId: eni.subnet_id,
    Description: '',
    MacAddress: eni.mac,
    InterfaceType: 'interface',
    Status: 'in-use',
    SourceDestCheck: eni.source_dest_check,
    PrivateIpAddress: eni.ip,
    PrivateDnsName: dnsName,
    PrivateIpAddresses: [
      {
        Primary: true,
        PrivateIpAddress: eni.ip,
        PrivateDnsName: dnsName,
        ...(association === undefined ? {} : { Association: association }),
      },
    ],
    Ipv6Addresses: [],
    Groups: eni.groups,
    Attachment: {
      AttachmentId: eni.attachment_id,
      AttachTime: eni.created_at,
      DeleteOnTermination: true,
      DeviceIndex: 0,
      NetworkCardIndex: 0,
      Status: 'attached',
    },
    ...(association === undefined ? {} : { Association: association }),
  };
};
