/** EC2's permissions (`IpPermissions`) and the rules of which they are made. */
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import type { In, Out } from '#wire/types.ts';
import { parseNetwork } from './ipv4.ts';
import type { Row } from './schema.ts';

export type IpPermission = NonNullable<In<'AuthorizeSecurityGroupIngress'>['IpPermissions']>[number];
export type RuleRow = Row<'security_group_rule'>;

/** One rule as its group will hold it: the smallest unit that can be granted or revoked. */
export type Rule = Pick<
  RuleRow,
  'protocol' | 'from_port' | 'to_port' | 'cidr' | 'referenced_group_id' | 'description'
>;

const protocolNumbers: Readonly<Record<string, string>> = { tcp: '6', udp: '17', icmp: '1', all: '-1' };
const protocolNames: Readonly<Record<string, string>> = { '6': 'tcp', '17': 'udp', '1': 'icmp' };

const portMax = 65_535;
const icmpMax = 255;
const descriptionCharsMax = 255;

export const protocolName = (protocol: string): string => protocolNames[protocol] ?? protocol;

const protocolOf = (text: string | undefined): string => {
  if (text === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter ipProtocol');
  const protocol = protocolNumbers[text.toLowerCase()] ?? text;
  if (protocol === '-1' || (/^\d{1,3}$/.test(protocol) && Number(protocol) <= 255)) return protocol;
  if (text.toLowerCase() === 'icmpv6' || protocol === '58')
    throw new PandoError('UnsupportedOperation', 'IPv6 is not available in this region.');
  throw new PandoError(
    'InvalidParameterValue',
    `Invalid value '${text.slice(0, 64)}' for IP protocol. Unknown protocol.`,
  );
};

/** Only TCP, UDP and ICMP have ports (for ICMP: type and code); other protocols ignore what was given. */
const portsOf = (protocol: string, from: number | undefined, to: number | undefined) => {
  if (protocol === '1') return icmpOf(from, to);
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

const cidrOf = (text: string | undefined): string => {
  const network = text === undefined ? undefined : parseNetwork(text);
  const base = text?.split('/')[0];
  if (text === undefined || network === undefined)
    throw new PandoError('InvalidParameterValue', `CIDR block ${(text ?? '').slice(0, 64)} is malformed`);
  // EC2 refuses host bits in rules, where a subnet's range would be silently cut.
  const whole = Number(network.base) === addressNumber(base ?? '');
  if (!whole) throw new PandoError('InvalidParameterValue', `CIDR block ${text} is malformed`);
  return text;
};

const addressNumber = (address: string): number => parseNetwork(`${address}/32`)?.base ?? Number.NaN;

const describeText = (text: string | undefined): string | null => {
  if (text === undefined || text === '') return null;
  if (text.length > descriptionCharsMax)
    throw new PandoError(
      'InvalidParameterValue',
      `Invalid rule description: more than ${descriptionCharsMax} characters.`,
    );
  return text;
};

/** The group that a pair means; by name: the caller's groups of the same VPC, looked up by `groupByName`. */
export type GroupByName = (name: string) => string | undefined;

/** The rules of which a permission is made: one per range and one per group. */
export const rulesOf = (permission: IpPermission, groupByName: GroupByName): Rule[] => {
  if ((permission.Ipv6Ranges ?? []).length > 0)
    throw new PandoError('UnsupportedOperation', 'IPv6 is not available in this region.');
  if ((permission.PrefixListIds ?? []).length > 0)
    throw new PandoError('UnsupportedOperation', 'Prefix lists are not available in this region.');
  const protocol = protocolOf(permission.IpProtocol);
  const base = { protocol, ...portsOf(protocol, permission.FromPort, permission.ToPort) };
  const ranges = (permission.IpRanges ?? []).map((range) => ({
    ...base,
    cidr: cidrOf(range.CidrIp),
    referenced_group_id: null,
    description: describeText(range.Description),
  }));
  const groups = (permission.UserIdGroupPairs ?? []).map((pair) => ({
    ...base,
    cidr: null,
    referenced_group_id: groupOf(pair, groupByName),
    description: describeText(pair.Description),
  }));
  return [...ranges, ...groups];
};

const groupOf = (
  pair: { GroupId?: string | undefined; GroupName?: string | undefined },
  byName: GroupByName,
): string => {
  if (pair.GroupId !== undefined) return parseId('securityGroup', pair.GroupId);
  const found = pair.GroupName === undefined ? undefined : byName(pair.GroupName);
  if (found !== undefined) return found;
  throw new PandoError(
    'InvalidGroup.NotFound',
    `The security group '${pair.GroupName ?? ''}' does not exist`,
  );
};

export const sameRule = (a: Rule, b: Rule): boolean =>
  a.protocol === b.protocol &&
  a.from_port === b.from_port &&
  a.to_port === b.to_port &&
  a.cidr === b.cidr &&
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
      Ipv6Ranges: [],
      PrefixListIds: [],
    };
  });
};

export const portMembers = (rule: Rule | undefined): { FromPort?: number; ToPort?: number } =>
  rule?.from_port == null || rule.to_port == null ? {} : { FromPort: rule.from_port, ToPort: rule.to_port };

export const descriptionMember = (rule: Rule): { Description?: string } =>
  rule.description === null ? {} : { Description: rule.description };
