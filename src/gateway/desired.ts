/** What the gateway's kernel should hold for a VPC. Pure. */

import { overlayDevice, vxlanPort } from '#card/limits.ts';
import { overlayIngress } from '#card/model/firewall.ts';
import type { Model, NftChain, NftSet } from '#card/model/model.ts';
import { placePorts } from '#card/model/place.ts';
import { portRoutes } from '#card/model/routes.ts';
import { word } from '#card/model/safe.ts';
import type { VpcState } from '#contracts/network.ts';
import { outsideMac } from './cable.ts';
import { cableDevice, cableInside, cableMtu, cableOutside } from './limits.ts';

const table = 'inet pando';

/** Ports that the world can reach: placed somewhere, with a public address. */
export const publicPorts = (state: VpcState): { ip: string; publicIp: string }[] =>
  state.ports.flatMap(({ ip, publicIp }) =>
    publicIp === undefined ? [] : [{ ip: word(ip), publicIp: word(publicIp) }],
  );

/** `denied`: destinations that no VPC may open a connection to. */
export const desiredOnGateway = (state: VpcState, vtep: string, denied: readonly string[]): Model => {
  const placed = placePorts(state, { ports: new Map(), forwards: new Map() }, vtep, vxlanPort);
  const model = portRoutes(state, placed, vxlanPort);
  // The sender of what the namespace itself has to say (a packet is too big).
  model.addresses.add(`${cableInside}/32`);
  model.links.set(cableDevice, cableMtu);
  model.neighbours.set(`${cableOutside} dev ${cableDevice}`, outsideMac(state.vni));
  model.routes.set('default table main', `via ${cableOutside} dev ${cableDevice} onlink`);
  return { ...model, ...firewall(publicPorts(state), denied) };
};

/**
 * Addresses are translated one to one (I6). Out: only ports with a public address, and not to denied places; answers to
 * connections from outside pass everywhere. In: whatever was translated; security groups are the card's matter.
 */
const firewall = (
  ports: readonly { ip: string; publicIp: string }[],
  denied: readonly string[],
): Pick<Model, 'sets' | 'chains'> => {
  const pairs = (from: 'ip' | 'publicIp', to: 'ip' | 'publicIp'): NftSet => ({
    kind: 'map',
    type: 'ipv4_addr : ipv4_addr',
    elements: new Set(ports.map((port) => `${port[from]} : ${port[to]}`)),
  });
  const addresses = (of: 'ip' | 'publicIp'): NftSet => ({
    kind: 'set',
    type: 'ipv4_addr',
    elements: new Set(ports.map((port) => port[of])),
  });
  const sets: [string, NftSet][] = [
    [`${table} to_private`, pairs('publicIp', 'ip')],
    [`${table} to_public`, pairs('ip', 'publicIp')],
    [`${table} has_public`, addresses('ip')],
  ];
  const chains: [string, NftChain][] = [
    [
      `${table} input`,
      {
        hook: 'type filter hook input priority filter; policy drop;',
        rules: ['meta l4proto icmp ct state related accept'],
      },
    ],
    [
      `${table} forward`,
      {
        hook: 'type filter hook forward priority filter; policy drop;',
        rules: [
          // Frames of the overlay are smaller than the world's: both ends of a connection are told at once.
          'tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu',
          'ct state established,related accept',
          ...denied.map((range) => `iifname "${overlayDevice}" ip daddr ${word(range)} drop`),
          `iifname "${overlayDevice}" oifname "${cableDevice}" ip saddr @has_public accept`,
          `iifname "${cableDevice}" oifname "${overlayDevice}" ct status dnat accept`,
        ],
      },
    ],
    [
      `${table} inbound`,
      {
        hook: 'type nat hook prerouting priority dstnat; policy accept;',
        rules: [`iifname "${cableDevice}" dnat ip to ip daddr map @to_private`],
      },
    ],
    [
      `${table} outbound`,
      {
        hook: 'type nat hook postrouting priority srcnat; policy accept;',
        rules: [`oifname "${cableDevice}" snat ip to ip saddr map @to_public`],
      },
    ],
    ...overlayIngress,
  ];
  return { sets: new Map(sets), chains: new Map(chains) };
};
