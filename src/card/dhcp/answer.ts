/** DHCP from the declared state: there are no leases, an interface always gets its own address. Pure. */
import type { VmMetadata, VpcPort, VpcState } from '#contracts/network.ts';
import { netmask } from '../addresses.ts';
import { leaseSeconds } from '../limits.ts';
import { type DhcpRequest, dhcpMessageType, ipBytes, writeDhcpReply } from './packet.ts';

export interface DhcpSubject {
  readonly vpc: Pick<VpcState, 'subnets' | 'dnsServers' | 'domainName' | 'dhcp' | 'mtu'>;
  readonly port: VpcPort;
  readonly metadata: VmMetadata | undefined;
}

export interface DhcpAnswer {
  readonly to: string;
  readonly bytes: Buffer;
}

/** The answer to a request of the interface `subject`; undefined: silence (another server was chosen, or nothing to say). */
export const answerDhcp = (request: DhcpRequest, subject: DhcpSubject): DhcpAnswer | undefined => {
  const { vpc, port } = subject;
  const subnet = vpc.subnets.find(({ subnetId }) => subnetId === port.subnetId);
  if (subnet === undefined) return undefined;
  const server = subnet.router;
  const reply = (type: number, ip: string, more: readonly (readonly [number, Buffer])[]): DhcpAnswer => ({
    to: port.ip,
    bytes: writeDhcpReply(request, ip, server, [[53, Buffer.from([type])], [54, ipBytes(server)], ...more]),
  });
  const options = configuration(subject, subnet.cidr, server);
  const lease: readonly (readonly [number, Buffer])[] = [[51, uint32(leaseSeconds)], ...options];
  switch (request.type) {
    case dhcpMessageType.discover:
      return reply(dhcpMessageType.offer, port.ip, lease);
    case dhcpMessageType.request: {
      if (request.serverId !== undefined && request.serverId !== server) return undefined;
      const wanted = request.requestedIp ?? request.ciaddr;
      if (wanted !== port.ip) return reply(dhcpMessageType.nak, '0.0.0.0', []);
      return reply(dhcpMessageType.ack, port.ip, lease);
    }
    case dhcpMessageType.inform:
      return reply(dhcpMessageType.ack, '0.0.0.0', options);
    default:
      return undefined;
  }
};

const configuration = (
  { vpc, metadata }: DhcpSubject,
  cidr: string,
  router: string,
): readonly (readonly [number, Buffer])[] => [
  [1, ipBytes(netmask(cidr))],
  [3, ipBytes(router)],
  ...servers(6, vpc.dnsServers),
  ...(metadata === undefined ? [] : [[12, Buffer.from(metadata.hostname.slice(0, 253))] as const]),
  ...(vpc.domainName === '' ? [] : [[15, Buffer.from(vpc.domainName.slice(0, 253))] as const]),
  [26, uint16(vpc.mtu)],
  ...servers(42, vpc.dhcp?.ntpServers),
  ...servers(44, vpc.dhcp?.netbiosNameServers),
  ...(vpc.dhcp?.netbiosNodeType === undefined
    ? []
    : [[46, Buffer.from([vpc.dhcp.netbiosNodeType])] as const]),
];

/** An option that lists addresses; without any it is left out. */
const servers = (code: number, ips: readonly string[] = []): readonly (readonly [number, Buffer])[] =>
  ips.length === 0 ? [] : [[code, Buffer.concat(ips.map(ipBytes))]];

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

const uint16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
};
