/** The declared network state of a whole VPC, as devices (cards, gateways) are told it. Shapes shared by region, cell, agent, card. */
import { z } from 'zod';

export const portsPerVpcMax = 4096;

const optionalText = (value: unknown): boolean => value === undefined || typeof value === 'string';
const optionalInteger = (value: unknown): boolean => value === undefined || Number.isInteger(value);
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isRule = (value: unknown): boolean =>
  isObject(value) &&
  typeof value.protocol === 'string' &&
  /^(-1|\d{1,3})$/.test(value.protocol) &&
  optionalInteger(value.fromPort) &&
  optionalInteger(value.toPort) &&
  optionalText(value.cidr) &&
  optionalText(value.groupId);

const areGroups = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.every(
    (group: unknown) =>
      isObject(group) &&
      typeof group.groupId === 'string' &&
      [group.ingress, group.egress].every((rules) => Array.isArray(rules) && rules.every(isRule)),
  );

/** One permission of a security group. Ports are inclusive; for ICMP `fromPort` is the type and `toPort` the code (-1: any). */
export const securityRule = z.object({
  /** `-1` all, else an IP protocol number as text: `6` TCP, `17` UDP, `1` ICMP. */
  protocol: z.string().regex(/^(-1|\d{1,3})$/),
  fromPort: z.number().int().optional(),
  toPort: z.number().int().optional(),
  /** Exactly one of the two is set: a range, or all interfaces that carry a group. */
  cidr: z.string().optional(),
  groupId: z.string().optional(),
});
export type SecurityRule = z.infer<typeof securityRule>;

export interface SecurityGroupState {
  readonly groupId: string;
  readonly ingress: readonly SecurityRule[];
  readonly egress: readonly SecurityRule[];
}

export const routeTarget = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('local') }),
  z.object({ kind: z.literal('internet-gateway'), id: z.string() }),
  z.object({ kind: z.literal('interface'), eniId: z.string() }),
  z.object({ kind: z.literal('blackhole') }),
]);

/** One network interface of a VM inside the VPC. `vtep` is the underlay address of the card that has it; absent: not placed. */
export const vpcPort = z.object({
  eniId: z.string(),
  instanceId: z.string().optional(),
  mac: z.string(),
  ip: z.string(),
  subnetId: z.string(),
  groupIds: z.array(z.string()),
  sourceDestCheck: z.boolean(),
  vtep: z.string().optional(),
  /** Ownership epoch of the port's place; grows with each move. */
  epoch: z.number().int(),
  /** Elastic or auto-assigned public IPv4, translated 1:1 at the internet gateway (I6). */
  publicIp: z.string().optional(),
});
export type VpcPort = z.infer<typeof vpcPort>;

export const vpcState = z.object({
  vpcId: z.string(),
  /** VXLAN network id, unique in the region. */
  vni: z.number().int().min(1).max(0xffffff),
  /** Grows with every change; a device refuses an older one. */
  version: z.number().int().min(1),
  cidrs: z.array(z.string()).min(1),
  subnets: z.array(
    z.object({
      subnetId: z.string(),
      cidr: z.string(),
      /** The subnet's router address (first host address): answered by every card. */
      router: z.string(),
      routes: z.array(z.object({ destination: z.string(), target: routeTarget })),
    }),
  ),
  /** Looked at by hand: there may be a hundred thousand rules, and every process on the way checks them. */
  groups: z.custom<SecurityGroupState[]>(areGroups, 'security groups with their rules'),
  ports: z.array(vpcPort).max(portsPerVpcMax),
  /** The internet gateway's place on the underlay, when one is attached. */
  internetGateway: z.object({ id: z.string(), vtep: z.string(), mac: z.string() }).optional(),
  /** DNS servers handed out by DHCP; empty: none. */
  dnsServers: z.array(z.string()),
  domainName: z.string(),
  /** Ends the public names of its instances; absent: the VPC's attributes give none, or the region is of the last release. */
  publicDomainName: z.string().optional(),
  /** What else DHCP hands out; a region of the last release has nothing else. */
  dhcp: z
    .object({
      ntpServers: z.array(z.string()),
      netbiosNameServers: z.array(z.string()),
      /** RFC 2132, section 8.7. */
      netbiosNodeType: z.number().int().min(0).max(255).optional(),
    })
    .optional(),
  /** Inner MTU of the VPC in bytes. */
  mtu: z.number().int(),
});
export type VpcState = z.infer<typeof vpcState>;

export { type VmMetadata, vmMetadata } from './metadata.ts';

/** The recorded result of one network operation of a launch (S1.2). Absent or failed: the VMM command is refused (S1.4). */
export const networkOperation = z.object({
  operationId: z.string(),
  kind: z.enum(['administrative', 'vpc']),
  ranOn: z.enum(['card', 'host']),
  tap: z.string().optional(),
  mac: z.string().optional(),
  at: z.string(),
});
export type NetworkOperation = z.infer<typeof networkOperation>;

/** One tracked connection, carried from source card to target card in a migration so that established flows stay allowed. */
export const trackedFlow = z.object({
  protocol: z.number().int(),
  src: z.string(),
  dst: z.string(),
  sport: z.number().int(),
  dport: z.number().int(),
});
export type TrackedFlow = z.infer<typeof trackedFlow>;
