/** What the region answers to routers, cells and gateways, and what it pushes to them over the same stream. */
import { z } from 'zod';
import { backendContract } from './backend.ts';
import { probeReport, probeRequest } from './card-probe.ts';
import { instanceWindow, windowedInstance, windowedInstancesMax } from './event-windows.ts';
import { kernelPreview } from './kernel-preview.ts';
import { identityClaims, signedIdentity, temporaryCredentials } from './metadata.ts';
import { vpcPort, vpcState } from './network.ts';
import {
  deviceConfirmation,
  deviceObjects,
  deviceTransaction,
  objectChange,
  placesDelta,
} from './network-objects.ts';
import { profilePolicy, profileRecord, profileReference } from './profiles.ts';

const empty = z.object({});

/** What a cell can take at all, by the make of its hosts; what is absent is not bounded. */
export const cellTakes = z.object({
  /** The biggest VM. */
  vcpusMax: z.number().positive().optional(),
  memoryMibMax: z.number().int().positive().optional(),
  /** EC2's tenancies. */
  tenancies: z.array(z.string()).optional(),
});

export const cellRecord = z.object({
  cellId: z.string(),
  /** Named by the first digits of the cell's ids (S3.4). */
  number: z.number().int(),
  /** `host:port` of each request processor. */
  processors: z.array(z.string()),
  zone: z.string(),
  state: z.enum(['active', 'draining']),
  takes: cellTakes.optional(),
  /** It takes every change first (S3.12). Said by the region, never by the cell. */
  canary: z.boolean().optional(),
});
export type CellRecord = z.infer<typeof cellRecord>;

export const imageRecord = z.object({
  imageId: z.string(),
  digest: z.string(),
  architecture: z.string(),
  minMemoryMib: z.number().int(),
  diskVirtualMib: z.number().int(),
  rootDeviceName: z.string(),
  /** Its instances demand version 2 of the metadata service, unless their launch says otherwise. */
  imdsSupport: z.literal('v2.0').optional(),
});
export type ImageRecord = z.infer<typeof imageRecord>;

/** What an account has set for launches that say nothing themselves. */
export const metadataDefaults = z.object({
  httpTokens: z.enum(['optional', 'required']).optional(),
  httpEndpoint: z.enum(['enabled', 'disabled']).optional(),
  hopLimit: z.number().int().optional(),
  instanceTags: z.enum(['enabled', 'disabled']).optional(),
});
export type MetadataDefaults = z.infer<typeof metadataDefaults>;
/** A SigV4 signing key: an access key's secret, narrowed to a day (`YYYYMMDD`), a region and a service. */
export const signingKey = z.object({
  day: z.string().regex(/^\d{8}$/),
  region: z.string(),
  service: z.string(),
  /** Base64. */
  key: z.string(),
});
export type SigningKeyRecord = z.infer<typeof signingKey>;
const signingKeysMax = 64;
/** An account's share of the cells (S3.9): the first that a launch is offered to, and as many others as it may be offered to (S3.8). */
export const cellsPerAccountDefault = 3;
/** Accounts in one message of a cell's. */
export const accountsPerNoteMax = 1_000;
/** Of a token that a region made: some hundred characters. */
export const sessionTokenCharsMax = 2_048;

/** Groups in one question. */
export const placementGroupsPerCallMax = 500;

/** A placement group as a cell needs it. `strategy` is absent from a region of the last release. */
const placementGroupRecord = z.object({
  groupId: z.string(),
  groupName: z.string(),
  strategy: z.enum(['cluster', 'spread', 'partition']).optional(),
  partitionCount: z.number().int().positive().optional(),
});

/** Beside `StaleEpoch`, of an interface that was released: for good, at the end of its instance's life. A region of the last release says less. */
export const interfaceReleased = { interface: 'released' } as const;

export const endedPerCallMax = 500;
/** `main`: the first request of those that wait for one wish. */
const endedRequest = z.object({
  requestId: z.string().max(64),
  main: z.string().max(64),
  fulfilled: z.boolean(),
});

/** An offer of capacity to a request that is one of several. */
const wishOffer = z.object({
  offerId: z.string().max(64),
  requestId: z.string().max(64),
  main: z.string().max(64),
});

export const regionContract = {
  ...backendContract,
  /**
   * Router: what signatures of an access key are checked with, and its owner; unknown: `found: false`. Cached by routers for a bounded
   * time. With `signingKeys` the secret stays in the region: what is answered are the keys derived from it for single days. A temporary
   * key is found with its own session token alone, also after it has expired.
   */
  'region.accessKey': {
    params: z.object({
      accessKeyId: z.string(),
      /** Absent: a router of the last release, which is given the secret. */
      signingKeys: z.literal(true).optional(),
      /** Of a temporary key. */
      sessionToken: z.string().max(sessionTokenCharsMax).optional(),
    }),
    result: z.object({
      found: z.boolean(),
      secret: z.string().optional(),
      signingKeys: z.array(signingKey).max(signingKeysMax).optional(),
      accountId: z.string().optional(),
      arn: z.string().optional(),
      userId: z.string().optional(),
      /** Temporary keys alone. */
      expiresAt: z.iso.datetime().optional(),
      policy: profilePolicy.optional(),
    }),
  },
  /** Every cell but those that were retired. */
  'region.cells': {
    params: empty,
    result: z.object({
      region: z.string(),
      cells: z.array(cellRecord),
      /** How many cells an account launches in (S3.9), the same for all routers; absent: a region of the last release. */
      cellsPerAccount: z.number().int().positive().optional(),
    }),
  },
  /** Router: the cells in which an account has, or had, instances: never fewer than it has them in. */
  'region.accountCells': {
    params: z.object({ accountId: z.string() }),
    result: z.object({ cellIds: z.array(z.string()) }),
  },
  /** Cell processor: accounts that have instances in its cell. The index of a region that lost its last seconds is whole again. */
  'region.noteAccounts': {
    params: z.object({ cellId: z.string(), accountIds: z.array(z.string()).max(accountsPerNoteMax) }),
    result: empty,
  },
  /**
   * Cell processor: which of its requests for capacity that are one of several, in several zones, have ended; and what became of those
   * of `mains`, by the first of them. Told again it is the same.
   */
  'region.endedRequests': {
    params: z.object({
      cellId: z.string(),
      ended: z.array(endedRequest).max(endedPerCallMax),
      mains: z.array(z.string().max(64)).max(endedPerCallMax),
      /** Offers to requests that are one of several. A cell of the last release says nothing of them. */
      offers: z
        .array(wishOffer.extend({ open: z.boolean() }))
        .max(endedPerCallMax)
        .default([]),
    }),
    /** `offered`: what is open of `mains`; of each, the one that goes before the others comes first. */
    result: z.object({ ended: z.array(endedRequest), offered: z.array(wishOffer).default([]) }),
  },
  /** Availability zones in which a cell takes launches. */
  'region.zones': {
    params: empty,
    result: z.object({ zones: z.array(z.object({ name: z.string(), id: z.string().optional() })) }),
  },
  /** Cell processor: announces itself; the region then pushes network state over this stream. */
  'region.joinCell': { params: cellRecord, result: z.object({ region: z.string() }) },
  /** Gateway: announces itself as the region's internet gateway device. */
  'region.joinGateway': { params: z.object({ vtep: z.string(), mac: z.string() }), result: empty },
  /** Everything about a launch that lives outside the cell, checked for this account (EC2's errors). Changes nothing but the claim. */
  'region.resolveLaunch': {
    params: z.object({
      accountId: z.string(),
      imageId: z.string(),
      keyName: z.string().optional(),
      subnetId: z.string().optional(),
      zone: z.string().optional(),
      groupIds: z.array(z.string()),
      groupNames: z.array(z.string()),
      privateIp: z.string().optional(),
      /** By its id or its name. */
      placementGroup: z.object({ id: z.string().optional(), name: z.string().optional() }).optional(),
      instanceProfile: profileReference.optional(),
      /**
       * Who asks; absent: a cell of the last release. Members of a cluster group in another cell of the zone: Unavailable with
       * `details.tokenCellId`, as that cell alone has hosts near them.
       */
      cellId: z.string().optional(),
      /** How many instances there must be addresses for; absent: not looked at. */
      count: z.number().int().optional(),
      /**
       * The client token, claimed for the caller's cell when all else is well. Absent: none is claimed. Another cell has it: Unavailable
       * with `details.tokenCellId`.
       */
      claim: z.object({ cellId: z.string(), token: z.string().min(1).max(128) }).optional(),
    }),
    result: z.object({
      image: imageRecord,
      publicKey: z.string().optional(),
      vpcId: z.string(),
      subnetId: z.string(),
      zone: z.string(),
      zoneId: z.string().optional(),
      groups: z.array(z.object({ groupId: z.string(), groupName: z.string() })),
      mapPublicIp: z.boolean(),
      domainName: z.string(),
      /** Where one was asked for; a region of the last release has none. */
      placementGroup: placementGroupRecord.optional(),
      /** Where one was asked for; a region of the last release has none. */
      instanceProfile: profileRecord.optional(),
      /** Of the account; a region of the last release has none. */
      metadataDefaults: metadataDefaults.optional(),
      /** Free addresses of the subnet just now; given where a count was asked for. */
      freeAddresses: z.number().int().optional(),
    }),
  },
  /** One claim of the token is given back: the launch that made it was refused for certain. Not to be repeated where no answer came. */
  'region.releaseToken': {
    params: z.object({ accountId: z.string(), cellId: z.string(), token: z.string() }),
    result: empty,
  },
  /** A profile of the account, for an instance to be associated with. */
  'region.instanceProfile': {
    params: z.object({ accountId: z.string(), profile: profileReference }),
    result: profileRecord,
  },
  /** What a version of a launch template holds, as JSON of the schema's `LaunchTemplateData`. Without a version: the default one. */
  'region.launchTemplate': {
    params: z.object({
      accountId: z.string(),
      id: z.string().optional(),
      name: z.string().optional(),
      version: z.string().optional(),
    }),
    result: z.object({ launchTemplateId: z.string(), version: z.number().int(), data: z.unknown() }),
  },
  /**
   * Creates the primary interface of an instance; the same instance id gives the same interface again. Once it was released, also
   * before it was made: StaleEpoch, for who asks has been overtaken.
   */
  'region.allocateInterface': {
    params: z.object({
      accountId: z.string(),
      instanceId: z.string(),
      subnetId: z.string(),
      groupIds: z.array(z.string()),
      privateIp: z.string().optional(),
      publicIp: z.boolean(),
      description: z.string().optional(),
      tags: z.array(z.object({ Key: z.string(), Value: z.string() })).optional(),
      /** Of the instance: the group is in use while the interface is there. */
      placementGroupId: z.string().optional(),
      /** Asks for the instance's identity document, signed. */
      identity: identityClaims.optional(),
      /** Asks for credentials of the instance under this profile. */
      instanceProfileId: z.string().optional(),
      /** Asks for what EC2 shows of it. */
      shown: z.boolean().optional(),
    }),
    result: z.object({
      vpcId: z.string(),
      port: vpcPort,
      /** As `region.interfaces` tells it. Absent: not asked for, or not at hand (a region of the last release): ask for it. */
      shown: z.array(z.unknown()).optional(),
      /** Absent: not asked for, or a region without a key (of the last release, say). */
      identity: signedIdentity.optional(),
      /** Absent: not asked for, or the account has no such profile any more. */
      credentials: temporaryCredentials.optional(),
    }),
  },
  /** Moves a stopped instance of the account into another placement group; without one: out of all. Repeatable. */
  'region.changePlacementGroup': {
    params: z.object({
      accountId: z.string(),
      instanceId: z.string(),
      group: z.object({ id: z.string().optional(), name: z.string().optional() }).optional(),
      /** Nothing is changed: the group is only looked up. */
      check: z.boolean().optional(),
    }),
    result: z.object({ placementGroup: placementGroupRecord.optional() }),
  },
  /** What placement groups are; those that are no more are left out. */
  'region.placementGroups': {
    params: z.object({ groupIds: z.array(z.string()).max(placementGroupsPerCallMax) }),
    result: z.object({ groups: z.array(placementGroupRecord) }),
  },
  /**
   * The event windows that instances are in, by their ids, tags and dedicated hosts; one that is in several is given with each. An
   * instance that is not given may be moved at any time.
   */
  'region.eventWindows': {
    params: z.object({ instances: z.array(windowedInstance).max(windowedInstancesMax) }),
    result: z.object({ windows: z.array(instanceWindow) }),
  },
  /**
   * Changes groups or the source/destination check of an instance's interface; devices are told before the answer (bounded
   * wait). `version` is the VPC's: of two answers the newer one has the greater. With `dryRun`: DryRunOperation.
   */
  'region.changeInterface': {
    params: z.object({
      accountId: z.string(),
      instanceId: z.string(),
      groupIds: z.array(z.string()).optional(),
      sourceDestCheck: z.boolean().optional(),
      dryRun: z.boolean(),
    }),
    result: z.object({
      groups: z.array(z.object({ groupId: z.string(), groupName: z.string() })),
      sourceDestCheck: z.boolean(),
      version: z.number().int(),
    }),
  },
  /**
   * Sets where an interface is: compare-and-set on its epoch (older: StaleEpoch; equal and same place: no change).
   * `vtep` absent: nowhere (stopped). Returns the VPC's new state; other devices are told before the answer (bounded wait).
   * `publicIp`: the public address that the interface has now, absent where it has none (and in answers of the last release).
   */
  'region.placeInterface': {
    params: z.object({
      eniId: z.string(),
      vtep: z.string().optional(),
      epoch: z.number().int(),
      /** The caller hears of the state by the push alone: the answer is without it. */
      withoutState: z.boolean().optional(),
      /** With `vtep` absent: its instance is stopped, so an automatic public address goes back to the pool. Cells of the last release keep it. */
      releaseAutomatic: z.boolean().optional(),
    }),
    result: z.object({
      state: vpcState.optional(),
      unreachable: z.array(z.string()),
      publicIp: z.string().optional(),
    }),
  },
  /** Deletes the interface of a terminated instance, freeing its addresses, and sees to it that none is made any more. */
  'region.releaseInterface': { params: z.object({ instanceId: z.string() }), result: empty },
  /** A VPC in parts for a cell: what leads from what it has to what its hosts need. Errors: `InvalidVpcID.NotFound`. */
  'region.vpcParts': {
    params: z.object({ cellId: z.string(), vpcId: z.string(), has: deviceObjects }),
    result: z.object({ objects: z.array(objectChange), places: placesDelta }),
  },
  'region.vpcState': { params: z.object({ vpcId: z.string() }), result: z.object({ state: vpcState }) },
  /**
   * Tells devices what they do not have of a VPC yet, before the answer (bounded wait); answers with those, or parts of them, that still do
   * not have it. Of a VPC that is gone: none.
   */
  'region.pushVpc': {
    params: z.object({ vpcId: z.string() }),
    result: z.object({ unreachable: z.array(z.string()) }),
  },
  /** Interfaces as EC2 shows them inside an instance. Keyed by instance id. */
  'region.interfaces': {
    params: z.object({ accountId: z.string(), instanceIds: z.array(z.string()) }),
    result: z.object({ interfaces: z.record(z.string(), z.array(z.unknown())) }),
  },
  /** A public image for a host's validation launch: the one that needs least. Absent: there is none. */
  'region.validationImage': { params: empty, result: z.object({ image: imageRecord.optional() }) },
  /** Agents (through their cell's trust): one chunk of an image file, base64. `file` is a key of the manifest's files or `manifest`. */
  'region.imageChunk': {
    params: z.object({
      digest: z.string(),
      file: z.string(),
      offset: z.number().int(),
      length: z.number().int(),
    }),
    result: z.object({ data: z.string(), eof: z.boolean() }),
  },
} as const;

/** Dedicated hosts in one question. */
export const dedicatedHostsPerCallMax = 50;

/** `ended`: for ever. `unknown`: the cell has no record of it, which proves nothing: a store may have lost it. */
export const instanceFate = z.enum(['present', 'ended', 'unknown']);
export type InstanceFate = z.infer<typeof instanceFate>;

/** Instances in one question about their fates. */
export const fatesPerCallMax = 500;

/** What a cell's store says of it: counts beside their limits (S3.7). */
export const cellContents = z.object({
  cellId: z.string(),
  hosts: z.number().int(),
  hostsMax: z.number().int(),
  /** Instances that are not terminated. */
  vms: z.number().int(),
  vmsMax: z.number().int(),
  quarantined: z.number().int(),
  /** Workflows that have not ended. */
  workflows: z.number().int(),
});
export type CellContents = z.infer<typeof cellContents>;

/** Part of a limit from which on a cell counts as nearly full: then the next one is due. */
export const nearlyFullShare = 0.8;

/** Whether the next cell is due (S3.7). */
export const isNearlyFull = ({
  hosts,
  hostsMax,
  vms,
  vmsMax,
}: Pick<CellContents, 'hosts' | 'hostsMax' | 'vms' | 'vmsMax'>): boolean =>
  hosts >= hostsMax * nearlyFullShare || vms >= vmsMax * nearlyFullShare;

/** Region → cell processor, over the stream that the processor opened. Answered when the cell's reachable hosts have it. */
export const cellPushContract = {
  'cell.applyVpc': {
    params: z.object({ state: vpcState }),
    result: z.object({ version: z.number(), unreachable: z.array(z.string()) }),
  },
  /** The same in parts: what leads from what this processor has to what the cell's hosts need. `has`: what it has then, of what was told. */
  'cell.applyParts': {
    params: z.object({ objects: z.array(objectChange), places: placesDelta }),
    result: z.object({ has: deviceObjects, unreachable: z.array(z.string()) }),
  },
  /** What this processor has of these VPCs. */
  'cell.objects': { params: z.object({ vpcIds: z.array(z.string()) }), result: deviceObjects },
  /** A card of this cell's hosts, by its device id: as `card.objects`, `card.transact` and `card.confirm`. */
  'cell.deviceObjects': {
    params: z.object({ deviceId: z.string(), vpcIds: z.array(z.string()).optional() }),
    result: deviceObjects,
  },
  'cell.transact': {
    params: z.object({ deviceId: z.string(), transaction: deviceTransaction }),
    result: deviceObjects,
  },
  /** As `card.preview`. */
  'cell.preview': {
    params: z.object({ deviceId: z.string(), transaction: deviceTransaction }),
    result: kernelPreview,
  },
  'cell.confirm': { params: deviceConfirmation.extend({ deviceId: z.string() }), result: empty },
  /** As `card.probe`. */
  'cell.probe': { params: z.object({ deviceId: z.string(), probe: probeRequest }), result: probeReport },
  /** The cards of all of this cell's hosts. `connected`: this processor reaches the host, and the host its card. */
  'cell.devices': {
    params: empty,
    result: z.object({
      cellId: z.string(),
      zone: z.string(),
      devices: z.array(z.object({ deviceId: z.string(), connected: z.boolean() })),
    }),
  },
  'cell.removeVpc': { params: z.object({ vpcId: z.string() }), result: empty },
  'cell.contents': { params: empty, result: cellContents },
  /** What became of instances of this cell, which answers under its own name. */
  'cell.instances': {
    params: z.object({ instanceIds: z.array(z.string()).max(fatesPerCallMax) }),
    result: z.object({
      cellId: z.string(),
      instances: z.array(z.object({ instanceId: z.string(), fate: instanceFate })),
    }),
  },
  /** Which of these dedicated hosts of this cell the account has. */
  'cell.dedicatedHosts': {
    params: z.object({
      accountId: z.string(),
      hostIds: z.array(z.string()).max(dedicatedHostsPerCallMax),
    }),
    result: z.object({ cellId: z.string(), hostIds: z.array(z.string()) }),
  },
} as const;
