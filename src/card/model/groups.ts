/** Security groups as chains: one per group and direction, from the permissions alone. */
import type { SecurityRule, VpcState } from '#contracts/network.ts';
import { canonicalCidr, isIpv4Cidr } from '../addresses.ts';
import type { NftChain, NftSet } from './model.ts';
import { word } from './safe.ts';

export const table = 'inet pando';
export const ingressChain = (groupId: string): string => `gi_${word(groupId)}`;
export const egressChain = (groupId: string): string => `ge_${word(groupId)}`;
const membersSet = (groupId: string): string => `m_${word(groupId)}`;

/**
 * Chains and member sets of the groups in `carried`, those that the ports of this card have: no packet meets the others here. Egress rules hand over to `to_vm`, ingress rules accept.
 */
export const groupRules = (
  state: VpcState,
  carried: ReadonlySet<string>,
): { chains: [string, NftChain][]; sets: [string, NftSet][] } => {
  const groups = state.groups.filter(({ groupId }) => carried.has(groupId));
  const referenced = new Set(
    groups.flatMap(({ ingress, egress }) => [...ingress, ...egress]).flatMap((rule) => rule.groupId ?? []),
  );
  const members = membersOf(state, referenced);
  return {
    sets: [...referenced].map((groupId) => [
      `${table} ${membersSet(groupId)}`,
      {
        kind: 'set',
        type: 'ipv4_addr',
        elements: new Set(members.get(groupId)),
      },
    ]),
    chains: groups.flatMap(({ groupId, ingress, egress }): [string, NftChain][] => [
      [
        `${table} ${ingressChain(groupId)}`,
        { rules: ingress.flatMap((rule) => compileRule(rule, 'saddr', 'accept')) },
      ],
      [
        `${table} ${egressChain(groupId)}`,
        { rules: egress.flatMap((rule) => compileRule(rule, 'daddr', 'goto to_vm')) },
      ],
    ]),
  };
};

/** Addresses by group, in one pass over the ports. */
const membersOf = (state: VpcState, groupIds: ReadonlySet<string>): ReadonlyMap<string, string[]> => {
  const members = new Map<string, string[]>([...groupIds].map((groupId) => [groupId, []]));
  for (const { ip, groupIds: own } of state.ports)
    for (const groupId of own) members.get(groupId)?.push(word(ip));
  return members;
};

/** None for a range of another family, which no packet here has. */
export const compileRule = (rule: SecurityRule, side: 'saddr' | 'daddr', verdict: string): string[] => {
  const peer = matchPeer(rule, side);
  if (peer === undefined) return [];
  return [[peer, matchProtocol(rule), verdict].filter((part) => part !== '').join(' ')];
};

/** undefined: a range of another family, which no packet here has. */
const matchPeer = (rule: SecurityRule, side: 'saddr' | 'daddr'): string | undefined => {
  if (rule.groupId !== undefined) return `ip ${side} @${membersSet(rule.groupId)}`;
  if (rule.cidr === undefined || !isIpv4Cidr(rule.cidr)) return undefined;
  const cidr = canonicalCidr(rule.cidr);
  return cidr.endsWith('/0') ? '' : `ip ${side} ${cidr}`;
};

const matchProtocol = ({ protocol, fromPort, toPort }: SecurityRule): string => {
  switch (protocol) {
    case '-1':
      return '';
    case '1':
      return matchIcmp(fromPort ?? -1, toPort ?? -1);
    case '6':
      return matchPorts('tcp', fromPort, toPort);
    case '17':
      return matchPorts('udp', fromPort, toPort);
    default:
      return `meta l4proto ${word(protocol)}`;
  }
};

const matchIcmp = (type: number, code: number): string => {
  if (type < 0) return 'meta l4proto 1';
  return code < 0 ? `icmp type ${type}` : `icmp type ${type} icmp code ${code}`;
};

const matchPorts = (name: string, from = -1, to = from): string =>
  from < 0 || (from === 0 && to >= 65_535)
    ? `meta l4proto ${name}`
    : `${name} dport ${from}${to === from ? '' : `-${to}`}`;
