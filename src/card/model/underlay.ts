/** What the installation's settings say of a device's own network namespace, as the kernel has it. Pure. */
import type { FleetBody } from '#contracts/network-objects.ts';
import { entriesDiff } from './kernelDiff.ts';
import { word } from './safe.ts';

export type UnderlaySettings = NonNullable<FleetBody['underlay']>;

export const underlayTable = 'inet pando_fleet';
/** Marks our routes; in the range that the kernel leaves to programs. */
export const routeProtocol = 201;

const closedRules = ({ closed = [] }: UnderlaySettings): string[] =>
  closed.map(({ protocol, port }) => `${underlayTable} input ${protocol} dport ${port} drop`);

/** What the kernel is to be told, a line each. */
export const underlayLines = (device: string, settings: UnderlaySettings, originalMtu: number): string[] => {
  const { mtu = originalMtu, neighbours = [], blackholes = [] } = settings;
  const rules = closedRules(settings).map((rule) => `add rule ${rule}`);
  return [
    `nft -f - <<'END-OF-RULES'`,
    `add table ${underlayTable}`,
    `delete table ${underlayTable}`,
    ...(rules.length === 0
      ? []
      : [
          `add table ${underlayTable}`,
          `add chain ${underlayTable} input { type filter hook input priority -10; policy accept; }`,
          ...rules,
        ]),
    'END-OF-RULES',
    `ip link set dev ${device} mtu ${mtu}`,
    `ip neigh flush dev ${device} nud permanent`,
    ...neighbours.map(
      ({ ip, mac }) => `ip neigh replace ${word(ip)} lladdr ${word(mac)} dev ${device} nud permanent`,
    ),
    `ip route flush proto ${routeProtocol}`,
    ...blackholes.map((range) => `ip route replace blackhole ${range} proto ${routeProtocol}`),
  ];
};

/** What would go and what would come. */
export const underlayDiff = (
  device: string,
  originalMtu: number,
  before: FleetBody,
  after: FleetBody,
): string[] => {
  const entries = ({ underlay = {} }: FleetBody) =>
    [
      ['ip link', [`${device} mtu ${underlay.mtu ?? originalMtu}`]],
      ['ip neigh', (underlay.neighbours ?? []).map(({ ip, mac }) => `${ip} dev ${device} lladdr ${mac}`)],
      ['ip route', (underlay.blackholes ?? []).map((range) => `blackhole ${range} proto ${routeProtocol}`)],
      ['nft rule', closedRules(underlay)],
    ] as const;
  return entriesDiff(entries(before), entries(after));
};
