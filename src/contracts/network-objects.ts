/**
 * Network state in parts (S8): what a device (a card, a gateway) holds, and how it is told to change it.
 *
 * *Policy objects* have a kind, an id, a version and a digest of their canonical form; a device holds the current and the previous one
 * of each, and goes from a first to a second in one transaction, both named by digest. What it has is another: it refuses (drift).
 * *Places* (where each interface is, the way out) are small entries of a VPC that any number of senders may tell in any order: for
 * each interface the greater epoch wins, then the greater version of the VPC.
 */
import { z } from 'zod';
import type { ProbeReport, ProbeRequest } from './card-probe.ts';
import type { KernelPreview } from './kernel-preview.ts';
import { routeTarget, securityRule, vpcPort, vpcState } from './network.ts';

export const objectKinds = ['fleet', 'vpc', 'subnet', 'security-group', 'network-acl', 'gateway'] as const;
export const objectKind = z.enum(objectKinds);
export type ObjectKind = z.infer<typeof objectKind>;

/** 32 hex digits: the first half of the SHA-256 of kind, id and body in canonical JSON (`digestOf`). */
export const objectDigest = z.string().regex(/^[0-9a-f]{32}$/);

/** The one object of kind `fleet`. */
export const fleetId = 'fleet';

/** What every namespace of a device refuses before its tenants' own rules are asked. `guest-services`: from a VM to the card itself. */
export const fleetRule = z.object({
  on: z.enum(['guest-services', 'from-guest', 'to-guest']),
  /** `-1` all, else an IP protocol number as text. */
  protocol: z.string().regex(/^(-1|\d{1,3})$/),
  /** Destination ports, inclusive. */
  fromPort: z.number().int().min(0).max(65_535).optional(),
  toPort: z.number().int().min(0).max(65_535).optional(),
  /** The other side. */
  cidr: z.string().optional(),
});

/** What is the whole installation's. Absent members: as the card's program has them. */
export const fleetBody = z.object({
  /** Inner MTU in bytes; a VPC's own is cut down to it. */
  mtu: z.number().int().min(576).max(9_216).optional(),
  /** Handed out by DHCP where a VPC has no options of its own. */
  dnsServers: z.array(z.string()).max(8).optional(),
  /** Dropped before anything else. */
  defaultRules: z.array(fleetRule).max(64).optional(),
  /** Ranges that lead nowhere, in every VPC. */
  blackholes: z.array(z.string()).max(64).optional(),
  /** What one tap may send to metadata, DHCP and router. */
  linkLocalPacketsPerS: z.number().int().min(1).max(1_000_000).optional(),
  /** UDP port of the overlay. */
  underlayPort: z.number().int().min(1).max(65_535).optional(),
  /** Of a device's own network namespace. */
  underlay: z
    .strictObject({
      /** Of the device towards the underlay, in bytes. */
      mtu: z.number().int().min(576).max(9_216).optional(),
      /** Entries that are not asked for over ARP. */
      neighbours: z
        .array(
          z.strictObject({
            ip: z.ipv4(),
            mac: z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/),
          }),
        )
        .max(1_024)
        .optional(),
      /** Ranges that lead nowhere. */
      blackholes: z.array(z.cidrv4()).max(64).optional(),
      /** Ports of the device itself that nobody reaches. */
      closed: z
        .array(
          z.strictObject({ protocol: z.enum(['tcp', 'udp']), port: z.number().int().min(1).max(65_535) }),
        )
        .max(64)
        .optional(),
    })
    .optional(),
  /**
   * The version of the card's program that is to run: the digest of its code, 16 hex digits. Kept on its host beforehand, else the card refuses.
   * Absent: the machine's own. A gateway passes over it.
   */
  cardProgram: z.string().max(128).optional(),
});
export type FleetBody = z.infer<typeof fleetBody>;

/** A VPC's settings: all of `VpcState` that is not another object's or a place. */
export const vpcBody = vpcState.pick({
  ...{ vni: true, cidrs: true, dnsServers: true, domainName: true, publicDomainName: true, dhcp: true },
  mtu: true,
});

export const subnetBody = z.object({
  cidr: z.string(),
  router: z.string(),
  routes: z.array(z.object({ destination: z.string(), target: routeTarget })),
});

export const securityGroupBody = z.object({
  ingress: z.array(securityRule),
  egress: z.array(securityRule),
});

/** By kind; kinds that nothing makes yet have no body that a device would take. */
export const objectBodies = {
  fleet: fleetBody,
  vpc: vpcBody,
  subnet: subnetBody,
  'security-group': securityGroupBody,
} as const;

/**
 * An object without its body. `version` grows with each change of the object: of a VPC's parts it is the version of the VPC at which they
 * changed. A device that is not asked for a first state keeps what is newer.
 */
export const objectRef = z.object({
  kind: objectKind,
  id: z.string(),
  version: z.number().int().min(1),
  digest: objectDigest,
});
export type ObjectRef = z.infer<typeof objectRef>;

/** `vpcId`: whose part it is; absent: the installation's. The body's shape is `objectBodies[kind]`, checked by who applies it. */
export const networkObject = objectRef.extend({ vpcId: z.string().optional(), body: z.unknown() });
export type NetworkObject = z.infer<typeof networkObject>;

/** What a device has of one object. `previous`: what it can go back to. */
export const objectOnDevice = z.object({
  kind: objectKind,
  id: z.string(),
  vpcId: z.string().optional(),
  current: objectRef.pick({ version: true, digest: true }).optional(),
  previous: objectRef.pick({ version: true, digest: true }).optional(),
});
export type ObjectOnDevice = z.infer<typeof objectOnDevice>;

/**
 * One object from a first state to a second. `from`: digest of what the device must have; null: it must have none; absent: not looked at
 * (the urgent class, where the newest of the owner's is right whatever was there). `to` absent: it is removed.
 */
export const objectChange = z.object({
  kind: objectKind,
  id: z.string(),
  vpcId: z.string().optional(),
  from: objectDigest.nullable().optional(),
  to: networkObject.optional(),
});
export type ObjectChange = z.infer<typeof objectChange>;

/** The internet gateway's place on the underlay. */
export const gatewayEntry = z.object({ id: z.string(), vtep: z.string(), mac: z.string() });
export type GatewayEntry = z.infer<typeof gatewayEntry>;

/** Entries of one VPC as they are at its `version`. Entries that the device knows newer are left alone. */
export const placesDelta = z.object({
  vpcId: z.string(),
  version: z.number().int().min(1),
  /** `set` is all that there is: what the device has besides goes. */
  complete: z.boolean().optional(),
  set: z.array(vpcPort),
  removed: z.array(z.string()),
  /** null: there is none; absent: as it was. */
  gateway: gatewayEntry.nullable().optional(),
});
export type PlacesDelta = z.infer<typeof placesDelta>;

/** What a device has of a VPC's places: `digest` is of the set, whatever the order in which it was told (`PlacesDigest`). */
export const placesOnDevice = z.object({
  vpcId: z.string(),
  version: z.number().int(),
  digest: objectDigest,
  /** Of all objects of the VPC that it has (`digestOfAll`): so that whoever was told only of some knows of the rest. Absent: it does not say. */
  objects: objectDigest.optional(),
});
export type PlacesOnDevice = z.infer<typeof placesOnDevice>;

/** Of one call: the rest goes with the next. */
export const changesPerTransactionMax = 4_096;

/** All or nothing, objects first and places with them. Repeated: the same as once. */
export const deviceTransaction = z.object({
  /** Who repeats it says it again; absent: nobody confirms it. */
  transactionId: z.string().max(64).optional(),
  objects: z.array(objectChange).max(changesPerTransactionMax),
  places: z.array(placesDelta).max(64),
  /** The device goes back by itself unless `confirm` comes before so many milliseconds are over (S8.4). Needs a `transactionId`. */
  confirmWithinMs: z.number().int().min(1).max(3_600_000).optional(),
  /**
   * Of an engine of rollouts: a device keeps the greatest that it has obeyed, and refuses a lesser one (`StaleEpoch`). So neither an
   * engine that was replaced nor a command that comes late undoes what came after it.
   */
  fence: z.object({ epoch: z.number().int().min(0), number: z.number().int().min(0) }).optional(),
});
export type DeviceTransaction = z.infer<typeof deviceTransaction>;

/** What a device has after a call, of what the call was about. */
export const deviceObjects = z.object({ objects: z.array(objectOnDevice), places: z.array(placesOnDevice) });
export type DeviceObjects = z.infer<typeof deviceObjects>;

/** Which transaction stays, and whose word that is: absent from who is of the last release. */
export const deviceConfirmation = deviceTransaction
  .pick({ fence: true })
  .extend({ transactionId: z.string() });

/**
 * A device as who changes it sees it. Errors: `HostUnreachable`; `Conflict` with `details.has` (JSON of the `objectOnDevice` that differs)
 * when a first state is not what it has (drift), and nothing is touched; `InvalidParameterValue` for a body that is none, or whose digest is
 * not its own.
 */
export interface NetworkDevice {
  /** `card/10.0.0.5` or `gateway/10.0.0.9`: by its end of the tunnels. */
  readonly deviceId: string;
  /** Everything, or only of these VPCs. */
  objects(vpcIds?: readonly string[]): Promise<DeviceObjects>;
  transact(transaction: DeviceTransaction): Promise<DeviceObjects>;
  /** What the transaction would change in its kernel. Absent: it does not say. */
  preview?(transaction: DeviceTransaction): Promise<KernelPreview>;
  /** The transaction stays. Unknown (it has lapsed, or there was none): NotFound. Fenced as a transaction is. */
  confirm(transactionId: string, fence?: DeviceTransaction['fence']): Promise<void>;
  /** Absent: it has no guests, so nothing can be measured from it. */
  probe?(request: ProbeRequest): Promise<ProbeReport>;
}
