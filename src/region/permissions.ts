/** EC2's permissions (`IpPermissions`) and the rules of which they are made. */
import { canonicalIpv6Network } from '#base/ipv6.ts';
import { PandoError } from '#contracts/errors.ts';
import { notFound, parseId } from '#contracts/ids.ts';
import type { In, Out } from '#wire/types.ts';
import { formatNetwork, parseNetwork } from './ipv4.ts';
import type { Row } from './schema.ts';

export type IpPermission = NonNullable<In<'AuthorizeSecurityGroupIngress'>['IpPermissions']>[number];
export type RuleRow = Row<'any_security_group_rule'>;

/** One rule as its group will hold it: the smallest unit that can be granted or revoked. */
export type Rule = Omit<RuleRow, 'rule_id' | 'group_id' | 'egress'>;

/** The number of ICMPv6. */
export const icmpv6 = '58';

const protocolNumbers: Readonly<Record<string, string>> = {
  tcp: '6',
  udp: '17',
  icmp: '1',
  icmpv6,
  all: '-1',
};
const protocolNames: Readonly<Record<string, string>> = {
  '6': 'tcp',
  '17': 'udp',
  '1': 'icmp',
  [icmpv6]: 'icmpv6',
};

const portMax = 65_535;
const icmpMax = 255;
const descriptionCharsMax = 255;

export const protocolName = (protocol: string): string => protocolNames[protocol] ?? protocol;

const protocolOf = (text: string | undefined): string => {
  if (text === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter ipProtocol');
  const protocol = protocolNumbers[text.toLowerCase()] ?? text;
  if (protocol === '-1' || (/^\d{1,3}$/.test(protocol) && Number(protocol) <= 255)) return protocol;
  throw new PandoError(
    'InvalidParameterValue',
    `Invalid value '${text.slice(0, 64)}' for IP protocol. Unknown protocol.`,
  );
};

/** Only TCP, UDP and ICMP have ports (for ICMP: type and code); other protocols ignore what was given. */
const portsOf = (protocol: string, from: number | undefined, to: number | undefined) => {
  if (protocol === '1' || protocol === icmpv6) return icmpOf(from, to);
  if (protocol !== '6' && protocol !== '17') return { from_port: null, to_port: null };
  if (from === undefined || to === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameters fromPort and toPort');
  if (from === -1 && to === -1) return { from_port: 0, to_port: portMax };
  if (from < 0 || to > portMax)
    throw new PandoError(
      'InvalidParameterValue',
      `Invalid value '${from < 0 ? from : to}' for port. Expected 0 to ${portMax}.`,
    );
  if (from > to)
    throw new PandoError(
      'InvalidParameterValue',
      `Invalid TCP/UDP port range (${from}, ${to}): from port must not be greater than to port`,
    );
  return { from_port: from, to_port: to };
};

const icmpOf = (type = -1, code = -1) => {
  if (type < -1 || type > icmpMax || code < -1 || code > icmpMax)
    throw new PandoError('InvalidParameterValue', `Invalid ICMP type and code (${type}, ${code})`);
  if (type === -1 && code !== -1)
    throw new PandoError('InvalidParameterValue', 'An ICMP code needs an ICMP type.');
  return { from_port: type, to_port: code };
};

const malformedCidr = (text: string | undefined): PandoError =>
  new PandoError('InvalidParameterValue', `CIDR block ${(text ?? '').slice(0, 64)} is malformed`);

/** Host bits are cleared, as in routes. */
const cidrOf = (text: string | undefined, protocol: string): string => {
  const network = text === undefined ? undefined : parseNetwork(text);
  if (network === undefined) throw malformedCidr(text);
  if (protocol === icmpv6)
    throw new PandoError('InvalidParameterValue', 'The protocol icmpv6 needs a range of IPv6.');
  return formatNetwork(network);
};

const ipv6CidrOf = (text: string | undefined): string => {
  const network = text === undefined ? undefined : canonicalIpv6Network(text);
  if (network === undefined) throw malformedCidr(text);
  return network;
};

/** The region has no prefix lists yet: only the form of their ids is known. */
const prefixListOf = (text: string | undefined): string => {
  const id = parseId('prefixList', text ?? '');
  if (!/^pl-[0-9a-f]{8}(?:[0-9a-f]{9})?$/.test(id)) throw notFound('prefixList', id);
  return id;
};

const describeText = (text: string | undefined): string | null => {
  if (text === undefined || text === '') return null;
  if (text.length > descriptionCharsMax)
    throw new PandoError(
      'InvalidParameterValue',
      `Invalid rule description: more than ${descriptionCharsMax} characters.`,
    );
  return text;
};

/** How the groups that pairs name are found: those of the caller, in one VPC. */
export interface PeerGroups {
  readonly accountId: string;
  readonly vpcId: string;
  /** Undefined: there is none of that name. */
  byName(name: string): string | undefined;
}

/** The rules of which a permission is made: one per source. @throws MissingParameter if it names none */
export const rulesOf = (permission: IpPermission, groups: PeerGroups): Rule[] => {
  const { IpRanges = [], Ipv6Ranges = [], PrefixListIds = [], UserIdGroupPairs = [] } = permission;
  const protocol = protocolOf(permission.IpProtocol);
  const ports = portsOf(protocol, permission.FromPort, permission.ToPort);
  const rule = (source: Partial<Rule>, { Description }: { Description?: string | undefined }): Rule => ({
    ...{ protocol, ...ports, cidr: null, cidr_ipv6: null, prefix_list_id: null, referenced_group_id: null },
    ...source,
    description: describeText(Description),
  });
  const rules = [
    ...IpRanges.map((range) => rule({ cidr: cidrOf(range.CidrIp, protocol) }, range)),
    ...Ipv6Ranges.map((range) => rule({ cidr_ipv6: ipv6CidrOf(range.CidrIpv6) }, range)),
    ...PrefixListIds.map((list) => rule({ prefix_list_id: prefixListOf(list.PrefixListId) }, list)),
    ...UserIdGroupPairs.map((pair) => rule({ referenced_group_id: groupOf(pair, groups) }, pair)),
  ];
  if (rules.length === 0) throw noSource();
  return rules;
};

export const noSource = (): PandoError =>
  new PandoError(
    'MissingParameter',
    'Either an IP range, a prefix list or a security group must be specified in each permission',
  );

type Pair = NonNullable<IpPermission['UserIdGroupPairs']>[number];

const groupOf = (pair: Pair, groups: PeerGroups): string => {
  const { GroupId: id, GroupName: name } = pair;
  if (pair.PeeringStatus !== undefined || pair.VpcPeeringConnectionId !== undefined)
    throw new PandoError('UnsupportedOperation', 'VPC peering is not available in this region.');
  if (id === undefined && name === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter groupName or groupId');
  if (id !== undefined) parseId('securityGroup', id);
  if (pair.VpcId !== undefined && parseId('vpc', pair.VpcId) !== groups.vpcId)
    throw notFound('vpc', pair.VpcId);
  const found = name === undefined ? id : groups.byName(name);
  // Another account's group is not there for this one; nor is a name that means another group than the id.
  if (
    (pair.UserId ?? groups.accountId) !== groups.accountId ||
    found === undefined ||
    (id ?? found) !== found
  )
    throw notFound('securityGroup', id ?? name ?? '');
  return found;
};

export const sameRule = (a: Rule, b: Rule): boolean =>
  a.protocol === b.protocol &&
  a.from_port === b.from_port &&
  a.to_port === b.to_port &&
  a.cidr === b.cidr &&
  a.cidr_ipv6 === b.cidr_ipv6 &&
  a.prefix_list_id === b.prefix_list_id &&
  a.referenced_group_id === b.referenced_group_id;

/** Rules as EC2 shows them inside a group: those that differ only in their source together in one permission. */
export const permissionsOf = (
  rules: readonly RuleRow[],
  accountId: string,
): NonNullable<NonNullable<Out<'DescribeSecurityGroups'>['SecurityGroups']>[number]['IpPermissions']> => {
  const groups = Map.groupBy(rules, (rule) => `${rule.protocol}/${rule.from_port}/${rule.to_port}`);
  return [...groups.values()].map((same) => {
    const [first] = same;
    return {
      IpProtocol: protocolName(first?.protocol ?? '-1'),
      ...portMembers(first),
      IpRanges: same
        .filter((rule) => rule.cidr !== null)
        .map((rule) => ({ CidrIp: rule.cidr ?? undefined, ...descriptionMember(rule) })),
      UserIdGroupPairs: same
        .filter((rule) => rule.referenced_group_id !== null)
        .map((rule) => ({
          UserId: accountId,
          GroupId: rule.referenced_group_id ?? undefined,
          ...descriptionMember(rule),
        })),
      Ipv6Ranges: same.flatMap((rule) =>
        rule.cidr_ipv6 === null ? [] : [{ CidrIpv6: rule.cidr_ipv6, ...descriptionMember(rule) }],
      ),
      PrefixListIds: same.flatMap((rule) =>
        rule.prefix_list_id === null
          ? []
          : [{ PrefixListId: rule.prefix_list_id, ...descriptionMember(rule) }],
      ),
    };
  });
};

export const portMembers = (rule: Rule | undefined): { FromPort?: number; ToPort?: number } =>
  rule?.from_port == null || rule.to_port == null ? {} : { FromPort: rule.from_port, ToPort: rule.to_port };

export const descriptionMember = (rule: Rule): { Description?: string } =>
  rule.description === null ? {} : { Description: rule.description };
