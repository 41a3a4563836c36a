/** What a card (or gateway) answers: agent → card, region → gateway. Every call is idempotent; repeated is the same as once. */
import { z } from 'zod';
import { probeReport, probeRequest } from './card-probe.ts';
import { kernelPreview } from './kernel-preview.ts';
import { networkOperation, trackedFlow, vmMetadata, vpcPort, vpcState } from './network.ts';
import { deviceConfirmation, deviceObjects, deviceTransaction } from './network-objects.ts';

const empty = z.object({});
const endpoint = z.object({ ip: z.string(), port: z.number().int() });
const queueCounters = z.object({
  held: z.number(),
  heldBytes: z.number(),
  forwarded: z.number(),
  dropped: z.number(),
});

/** `hold` is what the last release calls `buffer`: sent until no card is left that understands it alone. */
const queueMode = z.enum(['pass', 'buffer', 'hold']);

/** The mode as it is called now. */
export const presentQueueMode = (mode: z.infer<typeof queueMode>): 'pass' | 'buffer' =>
  mode === 'hold' ? 'buffer' : mode;

/** How long a card goes on forwarding, at least, after a port has moved away (S6.6). */
export const forwardsMsMin = 10_000;

export const cardContract = {
  /** Who and where this device is, and what it has: the versions per VPC and the ports that are attached here. */
  'card.status': {
    params: empty,
    result: z.object({
      vtep: z.string(),
      netns: z.string(),
      startedAt: z.string(),
      /** The version of the program that runs. Absent: a gateway, or a card of the last release. */
      program: z.string().optional(),
      vpcs: z.array(z.object({ vpcId: z.string(), version: z.number() })),
      ports: z.array(z.object({ eniId: z.string(), vpcId: z.string(), tap: z.string(), epoch: z.number() })),
    }),
  },
  /** Declares a VPC's state. With `from`: refused as drift (Conflict) when the device is not at that version (S8.2). */
  'card.applyVpc': {
    params: z.object({ from: z.number().int().optional(), state: vpcState }),
    result: z.object({ version: z.number() }),
  },
  /** The objects and places that the device has, by digest; of these VPCs, or of all, and the installation's own. */
  'card.objects': {
    params: z.object({ vpcIds: z.array(z.string()).optional() }),
    result: deviceObjects,
  },
  /**
   * Network state in parts. Errors: `Conflict` (drift: `details.has`; or an object that an unconfirmed transaction has changed),
   * `InvalidParameterValue`; nothing is touched then. Answers what it has of what the transaction is about.
   */
  'card.transact': { params: deviceTransaction, result: deviceObjects },
  /** What `card.transact` would change in the kernel; nothing is touched. Errors: as it would answer. */
  'card.preview': { params: deviceTransaction, result: kernelPreview },
  /** The transaction stays. Errors: `NotFound` when it has lapsed, or there was none; `StaleEpoch` as of a transaction. */
  'card.confirm': { params: deviceConfirmation, result: empty },
  /**
   * Measures from a guest of the card's own; see card-probe.ts. Errors: `InvalidParameterValue` when the members are not the card's (it is
   * not among them, or a target is not).
   */
  'card.probe': { params: probeRequest, result: probeReport },
  /**
   * Unknown: nothing. Errors: `Conflict`, and nothing is touched, while a port is attached (who asks has not heard of it), and for
   * `forwardsMsMin` after the last one has moved away: others may still send for it (S6.6).
   */
  'card.removeVpc': { params: z.object({ vpcId: z.string() }), result: empty },
  /** Administrative operation: metadata service (and DHCP lease) of one VM. */
  'card.prepareAdministrative': {
    params: z.object({ vpcId: z.string(), eniId: z.string(), metadata: vmMetadata }),
    result: networkOperation,
  },
  /**
   * VPC operation: takes the tap (already in the card's namespace under this name) into the VPC and opens it. Errors: `StaleEpoch`
   * when the port is attached with a higher epoch, `InvalidVpcID.NotFound` when the VPC was not declared here.
   */
  'card.attachPort': {
    params: z.object({ vpcId: z.string(), port: vpcPort, tap: z.string(), activate: z.boolean() }),
    result: networkOperation,
  },
  /** Removes tap, routes, rules, metadata, queue of an interface; unknown: nothing. Keeps forwarding if `forwardTo` is given (S6.6). */
  'card.detachPort': {
    params: z.object({ eniId: z.string(), forwardTo: z.string().optional() }),
    result: empty,
  },
  /**
   * Target of a migration: opens the packet queue of a port (S7.2). From now on what comes over the overlay for the port goes to
   * its tap, so that what the queue lets go finds it. Errors: `InvalidNetworkInterfaceID.NotFound` when it is not attached here.
   * `lapse`: packets that have been held for `ms` without a word from anybody, and those after them, go to `passTo` instead (the
   * source); the next call about the queue ends that. A settled queue (`card.setQueue`) does not hold again.
   */
  'card.openQueue': {
    params: z.object({
      eniId: z.string(),
      mode: queueMode,
      passTo: endpoint,
      lapse: z.object({ ms: z.number().int().positive(), passTo: endpoint }).optional(),
    }),
    result: endpoint,
  },
  /**
   * Told to pass, it answers when nothing is held any more and nothing has arrived for `idleMs` (0), a second at most.
   * `settled`: the guest runs here for good, the queue is not to hold for it again.
   */
  'card.setQueue': {
    params: z.object({
      eniId: z.string(),
      mode: queueMode,
      passTo: endpoint.optional(),
      idleMs: z.number().int().nonnegative().optional(),
      settled: z.boolean().optional(),
    }),
    result: queueCounters,
  },
  /** Releases what is held, in order, then closes once nothing has arrived for `idleMs`. */
  'card.closeQueue': {
    params: z.object({ eniId: z.string(), idleMs: z.number().int() }),
    result: queueCounters,
  },
  /**
   * So that the old way can be emptied before a new one is used. Source: what is sent on to the port waits in the kernel, in order,
   * until the next `card.redirectPort`. Target: the port receives by the direct way from now on, where packets of this card's own VMs
   * wait until `card.activatePort`. A second at most.
   */
  'card.plugPort': { params: z.object({ eniId: z.string() }), result: empty },
  /** Source of a migration: prepares the redirection to `to`, so that it takes as little time as can be. */
  'card.prepareRedirect': { params: z.object({ eniId: z.string(), to: endpoint }), result: empty },
  /**
   * Source of a migration: everything for this port goes to `to` instead of the tap; undefined: back to the tap.
   * Answers when the VMM has read what was on its way to the tap, some 20 ms later at most. Ends a plug: answers when what was
   * kept back is on its way. `lapseMs`: back to the tap by itself after that time, unless it is kept: whoever redirects before the
   * guest has been handed over may die before it is. `keep`: a redirection to `to` that would lapse stays; nothing else changes, as a
   * later one may have taken its place.
   */
  'card.redirectPort': {
    params: z.object({
      eniId: z.string(),
      to: endpoint.optional(),
      lapseMs: z.number().int().positive().optional(),
      keep: z.boolean().optional(),
    }),
    result: empty,
  },
  'card.exportFlows': {
    params: z.object({ eniId: z.string() }),
    result: z.object({ flows: z.array(trackedFlow) }),
  },
  'card.importFlows': {
    params: z.object({ eniId: z.string(), flows: z.array(trackedFlow) }),
    result: empty,
  },
  /** Target of a migration: the attached port receives like any other from now on. Ends a plug. */
  'card.activatePort': { params: z.object({ eniId: z.string() }), result: empty },
  /**
   * When guests were last heard of, by the ports that are attached and wired here; ages in milliseconds. `listenedMs`: since when this
   * card listens for this port. `probe`: ports whose guests are asked over ARP (16 at once at most, each every few seconds at most); what they answer is in a later call.
   */
  'card.heard': {
    params: z.object({ probe: z.array(z.string()).max(1_024).optional() }),
    result: z.object({
      ports: z.array(
        z.object({
          eniId: z.string(),
          listenedMs: z.number().nonnegative(),
          /** It asked for its address. */
          dhcpMs: z.number().nonnegative().optional(),
          /** It asked for metadata. */
          metadataMs: z.number().nonnegative().optional(),
          /** It answered for its address. */
          arpMs: z.number().nonnegative().optional(),
        }),
      ),
    }),
  },
  'card.counters': {
    params: empty,
    result: z.object({
      ports: z.array(
        z.object({
          eniId: z.string(),
          rxBytes: z.number(),
          txBytes: z.number(),
          rxPackets: z.number(),
          txPackets: z.number(),
        }),
      ),
      /** The device towards the underlay. Absent: there is none just now, or a card of the last release. */
      underlay: z
        .object({
          rxBytes: z.number(),
          txBytes: z.number(),
          /** Mbit/s. Absent: the device does not know. */
          speedMbps: z.number().positive().optional(),
        })
        .optional(),
    }),
  },
} as const;

/** Names of the last release, by the present ones: understood for one release more, and used towards a peer that knows no other. */
export const formerCardMethods = {
  'card.plugPort': 'card.holdPort',
  'card.prepareRedirect': 'card.aimPort',
} as const;

type CardMethod = keyof typeof cardContract;
export type FormerCardMethod = (typeof formerCardMethods)[keyof typeof formerCardMethods];

/** The method as it is called now. */
export const presentCardMethod = (name: CardMethod | FormerCardMethod): CardMethod => {
  switch (name) {
    case 'card.holdPort':
      return 'card.plugPort';
    case 'card.aimPort':
      return 'card.prepareRedirect';
    default:
      return name;
  }
};
