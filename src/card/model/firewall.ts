/**
 * The firewall of a VPC inside a card.
 *
 *   prerouting   what a tap sends to the namespace itself is limited in rate
 *                a frame from a tap carries the tap's own MAC and IP, or is a DHCP request, or is dropped
 *   input        router ping, DHCP, metadata; nothing else of the namespace can be reached
 *   forward      tracked → accept · from the overlay → to_vm · from a tap → its groups' egress → to_vm
 *   to_vm        to the overlay → accept · to a tap → its groups' ingress
 */
import type { VmMetadata, VpcState } from '#contracts/network.ts';
import type { FleetBody } from '#contracts/network-objects.ts';
import { linkLocalPacketsPerS, metadataAddress, metadataPort, overlayDevice } from '../limits.ts';
import { compileRule, egressChain, groupRules, ingressChain, table } from './groups.ts';
import type { Model, NftChain, NftSet } from './model.ts';
import type { PlacedPort } from './place.ts';
import { word } from './safe.ts';

export const importedSet = `${table} imported`;
const rateSet = `${table} link_local`;
/** Taps of one namespace whose rates are counted. */
const tapsMax = 4_096;
const flowType = 'inet_proto . ipv4_addr . inet_service . ipv4_addr . inet_service';

export const cardFirewall = (
  state: VpcState,
  placed: readonly PlacedPort[],
  metadata: ReadonlyMap<string, VmMetadata>,
  fleet: FleetBody = {},
): Pick<Model, 'sets' | 'chains'> => {
  const ports = placed.flatMap(({ port, local }) =>
    local === undefined ? [] : [{ ...port, tap: word(local.tap) }],
  );
  const known = new Set(state.groups.map(({ groupId }) => groupId));
  const groups = groupRules(state, new Set(ports.flatMap(({ groupIds }) => groupIds)));
  const set = (type: string, elements: string[], kind: NftSet['kind'] = 'set'): NftSet => ({
    kind,
    type,
    elements: new Set(elements),
  });
  const own = ports.map(({ tap, mac, ip }) => `"${tap}" . ${word(mac)} . ${word(ip)}`);
  const sets: [string, NftSet][] = [
    [`${table} own`, set('ifname . ether_addr . ipv4_addr', own)],
    [
      `${table} own_mac`,
      set(
        'ifname . ether_addr',
        ports.map(({ tap, mac }) => `"${tap}" . ${mac}`),
      ),
    ],
    [
      `${table} unchecked`,
      set(
        'ifname . ether_addr',
        ports.filter((port) => !port.sourceDestCheck).map(({ tap, mac }) => `"${tap}" . ${mac}`),
      ),
    ],
    [
      `${table} routers`,
      set(
        'ipv4_addr',
        state.subnets.map(({ router }) => word(router)),
      ),
    ],
    [
      `${table} egress`,
      set(
        'ifname : verdict',
        ports.map(({ tap, eniId }) => `"${tap}" : jump pe_${word(eniId)}`),
        'map',
      ),
    ],
    [
      `${table} ingress`,
      set(
        'ifname : verdict',
        ports.map(({ tap, eniId }) => `"${tap}" : jump pi_${word(eniId)}`),
        'map',
      ),
    ],
    [importedSet, { kind: 'set', type: flowType, flags: 'timeout', elements: new Set() }],
    [rateSet, { kind: 'set', type: 'ifname', flags: `dynamic; size ${tapsMax}`, elements: new Set() }],
    ['arp pando own', set('ifname . ether_addr . ipv4_addr', [...own, ...ports.map(probe)])],
    ...groups.sets,
  ];
  const chains: [string, NftChain][] = [
    ...groups.chains,
    ...ports.flatMap(({ eniId, groupIds }): [string, NftChain][] => {
      const mine = groupIds.filter((groupId) => known.has(groupId));
      return [
        [`${table} pe_${eniId}`, { rules: mine.map((groupId) => `jump ${egressChain(groupId)}`) }],
        [`${table} pi_${eniId}`, { rules: mine.map((groupId) => `jump ${ingressChain(groupId)}`) }],
      ];
    }),
    [`${table} to_vm`, { rules: [`oifname "${overlayDevice}" accept`, 'oifname vmap @ingress', 'drop'] }],
    [`${table} spoof`, spoofChain(fleet.linkLocalPacketsPerS ?? linkLocalPacketsPerS)],
    [`${table} input`, inputChain(fleet)],
    [`${table} forward`, forwardChain(fleet)],
    [`${table} output`, outputChain(ports, metadata)],
    ['arp pando input', arpChain],
    ...overlayIngress,
  ];
  return { sets: new Map(sets), chains: new Map(chains) };
};

/** An address probe (RFC 5227) has no sender address yet. */
const probe = ({ tap, mac }: { tap: string; mac: string }): string => `"${tap}" . ${mac} . 0.0.0.0`;

/** Counted for each tap: metadata and the other link-local services, DHCP, the router. */
const limitRate = (perS: number): string =>
  `update @link_local { iifname limit rate over ${perS}/second burst ${perS} packets } drop`;

const spoofChain = (perS: number): NftChain => ({
  hook: 'type filter hook prerouting priority raw; policy drop;',
  rules: [
    'meta nfproto ipv6 drop',
    `iifname { "lo", "${overlayDevice}" } accept`,
    `ip daddr 169.254.0.0/16 ${limitRate(perS)}`,
    `ip daddr @routers ${limitRate(perS)}`,
    `ip daddr 255.255.255.255 ${limitRate(perS)}`,
    'iifname . ether saddr . ip saddr @own accept',
    'iifname . ether saddr @own_mac ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept',
    'iifname . ether saddr @unchecked accept',
  ],
});

const inputChain = (fleet: FleetBody): NftChain => ({
  hook: 'type filter hook input priority filter; policy drop;',
  rules: [
    'iifname "lo" accept',
    ...fleetRules(fleet, 'guest-services'),
    'udp sport 68 udp dport 67 ip daddr 255.255.255.255 accept',
    // From here on only with the tap's own address, also where forwarding of others' is allowed.
    'iifname . ether saddr . ip saddr != @own drop',
    'ip daddr @routers udp sport 68 udp dport 67 accept',
    'ip daddr @routers icmp type echo-request accept',
    `ip daddr ${metadataAddress} tcp dport ${metadataPort} accept`,
    'ct state related accept',
  ],
});

const forwardChain = (fleet: FleetBody): NftChain => ({
  hook: 'type filter hook forward priority filter; policy drop;',
  rules: [
    'ip daddr 169.254.0.0/16 drop',
    ...fleetRules(fleet, 'from-guest'),
    ...fleetRules(fleet, 'to-guest'),
    'ct state established,related accept',
    'meta l4proto . ip saddr . th sport . ip daddr . th dport @imported accept',
    `iifname "${overlayDevice}" goto to_vm`,
    'iifname vmap @egress',
  ],
});

/** Before tracked flows are let through: what the installation refuses ends at once. */
const fleetRules = (
  { defaultRules = [] }: FleetBody,
  on: NonNullable<FleetBody['defaultRules']>[number]['on'],
): string[] => {
  const guestSide = on === 'to-guest' ? `oifname != "${overlayDevice}"` : `iifname != "${overlayDevice}"`;
  const peer = on === 'from-guest' ? 'daddr' : 'saddr';
  return defaultRules
    .filter((rule) => rule.on === on)
    .flatMap((rule) =>
      compileRule({ ...rule, cidr: rule.cidr ?? '0.0.0.0/0' }, peer, 'drop').map(
        (text) => `${guestSide} ${text}`,
      ),
    );
};

/** Frames over the overlay carry the destination VM's MAC: the namespace takes them as its own and routes them. */
export const overlayIngress: [string, NftChain][] = [
  [
    'netdev pando overlay',
    {
      hook: `type filter hook ingress device "${overlayDevice}" priority 0; policy accept;`,
      rules: ['meta pkttype set host'],
    },
  ],
];

const arpChain: NftChain = {
  hook: 'type filter hook input priority 0; policy drop;',
  rules: ['iifname . arp saddr ether . arp saddr ip @own accept'],
};

/** The metadata hop limit: an answer does not travel further than the VM's owner allows, where a token is demanded. */
const outputChain = (
  ports: readonly { eniId: string; ip: string }[],
  metadata: ReadonlyMap<string, VmMetadata>,
): NftChain => {
  const limits = ports.flatMap(({ eniId, ip }) => {
    const vm = metadata.get(eniId);
    return vm?.httpTokens === 'required' ? [{ ip, hops: vm.hopLimit }] : [];
  });
  const distinct = [...new Set(limits.map(({ hops }) => hops))].sort((a, b) => a - b);
  return {
    hook: 'type filter hook output priority filter; policy accept;',
    rules: [
      `oifname "${overlayDevice}" ip saddr ${metadataAddress} drop`,
      ...distinct.map(
        (hops) =>
          `ip saddr ${metadataAddress} ip daddr { ${limits
            .filter((limit) => limit.hops === hops)
            .map(({ ip }) => ip)
            .join(', ')} } ip ttl set ${hops}`,
      ),
    ],
  };
};
