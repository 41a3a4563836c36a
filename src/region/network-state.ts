/** Compiles the declared network state of a VPC out of the tables: one statement, so one snapshot (but for rules, see group-rules.ts). */
import { hash } from 'node:crypto';
import { encodeOnce } from '#base/rpc/json.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';
import { type DhcpEntry, dhcpOf } from './dhcp-configuration.ts';
import type { GroupRules } from './group-rules.ts';
import { formatAddress } from './ipv4.ts';
import type { Database } from './schema.ts';
import { statement } from './statement.ts';

/** What of the state is the installation's, not the VPC's. */
export interface NetworkSettings {
  readonly domainName: string;
  /** Of public DNS names; absent: there are none. */
  readonly publicDomainName?: string;
  readonly dnsServers: readonly string[];
  readonly mtu: number;
}

interface CompiledRoute {
  subnetId: string;
  destination: string;
  kind: 'local' | 'internet-gateway' | 'interface';
  target: string | null;
  alive: boolean;
}

interface CompiledVpc {
  vni: number;
  /** Whether its attributes give its interfaces DNS names. */
  named: boolean;
  version: number;
  cidr: string;
  /** Those that were added. */
  cidrs: string[];
  dhcp: DhcpEntry[] | null;
  subnets: { subnetId: string; cidr: string; base: number }[];
  routes: CompiledRoute[];
  groups: { groupId: string; revision: string }[];
  ports: (Omit<VpcPort, 'vtep' | 'publicIp'> & { vtep: string | null; publicIp: string | null })[];
  gateway: { id: string; vtep: string; mac: string } | null;
  recorded: number | null;
}

const read = statement<CompiledVpc>(`
    select v.vni, v.version, v.cidr, v.dns_support and v.dns_hostnames as named,
      (select coalesce(json_agg(b.cidr order by b.created_at, b.association_id), '[]')
        from vpc_cidr_block b where b.vpc_id = v.vpc_id) as cidrs,
      (select r.version from recorded_vpc r where r.vpc_id = v.vpc_id) as recorded,
      (select d.configuration from dhcp_options d where d.dhcp_options_id = v.dhcp_options_id) as dhcp,
      (select coalesce(json_agg(json_build_object('subnetId', s.subnet_id, 'cidr', s.cidr, 'base', s.base)
          order by s.subnet_id), '[]')
        from subnet s where s.vpc_id = v.vpc_id) as subnets,
      (select coalesce(json_agg(json_build_object('subnetId', s.subnet_id, 'destination', r.destination, 'kind', r.kind,
          'target', r.target_id, 'alive', case r.kind
            when 'local' then true
            when 'internet-gateway' then exists (
              select from internet_gateway g where g.internet_gateway_id = r.target_id and g.vpc_id = v.vpc_id)
            else exists (select from eni e where e.eni_id = r.target_id) end) order by s.subnet_id, r.destination), '[]')
        from subnet s
        join route_table_association a on a.vpc_id = v.vpc_id and a.subnet_id is not distinct from
          (select own.subnet_id from route_table_association own where own.subnet_id = s.subnet_id)
        join route r on r.route_table_id = a.route_table_id
        where s.vpc_id = v.vpc_id) as routes,
      (select coalesce(json_agg(json_build_object('groupId', g.group_id, 'revision', g.revision) order by g.group_id), '[]')
        from security_group g where g.vpc_id = v.vpc_id and g.group_id in
          (select unnest(e.group_ids) from eni e where e.vpc_id = v.vpc_id)) as groups,
      (select coalesce(json_agg(json_build_object('eniId', e.eni_id, 'instanceId', e.instance_id, 'mac', e.mac, 'ip', e.ip,
          'subnetId', e.subnet_id, 'groupIds', e.group_ids, 'sourceDestCheck', e.source_dest_check, 'vtep', e.vtep,
          'epoch', e.epoch, 'publicIp', p.ip) order by e.eni_id), '[]')
        from eni e left join public_address p on p.eni_id = e.eni_id where e.vpc_id = v.vpc_id) as ports,
      (select json_build_object('id', g.internet_gateway_id, 'vtep', d.vtep, 'mac', d.mac)
        from internet_gateway g cross join gateway_device d where g.vpc_id = v.vpc_id) as gateway
    from vpc v where v.vpc_id = $1`);

export interface CompiledState {
  readonly state: VpcState;
  /** A hash of the revisions of its groups: of the same snapshot as the version. */
  readonly revisions: string;
  /** The version that what devices are to have was written down of; 0: none. */
  readonly recorded: number;
}

/**
 * The state of a VPC as devices are told it; undefined: there is no such VPC. Of security groups it has those that an interface
 * carries: the others say nothing about any packet.
 */
export const compileVpcState = async (
  db: Database,
  vpcId: string,
  settings: NetworkSettings,
  groupRules: GroupRules,
): Promise<CompiledState | undefined> => {
  const [compiled] = await read(db, vpcId);
  if (compiled === undefined) return undefined;
  const routes = Map.groupBy(compiled.routes, (route) => route.subnetId);
  const groups = await groupRules.of(db, compiled.groups);
  const state: VpcState = encodeOnce({
    vpcId,
    vni: compiled.vni,
    version: compiled.version,
    cidrs: [compiled.cidr, ...compiled.cidrs],
    subnets: compiled.subnets.map(({ subnetId, cidr, base }) => ({
      subnetId,
      cidr,
      router: formatAddress(base + 1),
      routes: (routes.get(subnetId) ?? []).map((route) => ({
        destination: route.destination,
        target: targetOf(route),
      })),
    })),
    groups,
    ports: compiled.ports.map(({ vtep, publicIp, ...port }) => ({
      ...port,
      ...(vtep === null ? {} : { vtep }),
      ...(publicIp === null ? {} : { publicIp }),
    })),
    ...(compiled.gateway === null ? {} : { internetGateway: compiled.gateway }),
    ...dhcpOf(compiled.dhcp, settings.dnsServers),
    ...(compiled.named && settings.publicDomainName !== undefined
      ? { publicDomainName: settings.publicDomainName }
      : {}),
    mtu: settings.mtu,
  });
  const revisions = hash('sha1', compiled.groups.map(({ revision }) => revision).join(' '));
  return { state, revisions, recorded: compiled.recorded ?? 0 };
};

const targetOf = ({
  kind,
  target,
  alive,
}: CompiledRoute): VpcState['subnets'][number]['routes'][number]['target'] => {
  if (kind === 'local') return { kind };
  // A route outlives its target: what it names is gone, and packets end there.
  if (!alive || target === null) return { kind: 'blackhole' };
  return kind === 'interface' ? { kind, eniId: target } : { kind, id: target };
};
