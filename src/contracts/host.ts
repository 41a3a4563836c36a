/** What a cell processor asks of a host (real agent or simulated), and what a host tells its cell. */
import { z } from 'zod';
import { cardContract, formerCardMethods } from './card.ts';
import { networkOperation, vmMetadata, vpcPort, vpcState } from './network.ts';

const empty = z.object({});

/** Who commands: the host refuses an older epoch of the same workflow (StaleEpoch), and answers a repeated step from its record. */
export const commandKey = z.object({ workflowId: z.string(), step: z.string(), epoch: z.number().int() });
export type CommandKey = z.infer<typeof commandKey>;

export const vmState = z.enum(['absent', 'preparing', 'incoming', 'running', 'paused', 'stopped', 'failed']);
export type VmState = z.infer<typeof vmState>;

/** What a VM needs of a host. `vcpus` may be a fraction (a quarter CPU: 0.25), enforced by quota. */
export const vmRequirement = z.object({
  vcpus: z.number().positive(),
  memoryMib: z.number().int().positive(),
  rootDiskMib: z.number().int().positive(),
});
export type VmRequirement = z.infer<typeof vmRequirement>;

export const imageRef = z.object({ imageId: z.string(), digest: z.string() });
export type ImageRef = z.infer<typeof imageRef>;

export const hostCapacity = z.object({
  vcpus: z.number(),
  memoryMib: z.number().int(),
  diskMib: z.number().int(),
});

/** How the VMM on one side of a migration proves itself to the other: by a certificate made for this migration alone. */
export const migrationCredential = z.object({
  /** PEM of the authority that issued it; its key never left the host. */
  certificate: z.string().max(8_192),
  /** PEM of the certificate of the agent that vouches for it. */
  agent: z.string().max(8_192),
  /** That agent's signature over instance, side and certificate; base64. */
  signature: z.string().max(1_024),
  /** Source: where that agent answers `handover.ask`. Its identity is the one that `agent` proves. */
  handover: z.object({ host: z.string().max(253), port: z.number().int() }).optional(),
});
export type MigrationCredential = z.infer<typeof migrationCredential>;

export const vmReport = z.object({
  instanceId: z.string(),
  state: vmState,
  requirement: vmRequirement,
  eniId: z.string().optional(),
  /** Bytes resident now, CPU seconds so far; absent when no VMM runs. */
  residentBytes: z.number().optional(),
  cpuSeconds: z.number().optional(),
  rxBytes: z.number().optional(),
  txBytes: z.number().optional(),
  /** Why it is stopped or failed, for people. */
  reason: z.string().optional(),
});
export type VmReport = z.infer<typeof vmReport>;

/** Where the packets of an interface go. */
export const packetWay = z.object({
  eniId: z.string(),
  to: z.object({ ip: z.string(), port: z.number().int() }),
});

/** How long each part of a command took, in milliseconds, in the order in which they ended (S7.6). */
export const timedParts = z.array(z.object({ part: z.string(), ms: z.number() }));
export type TimedParts = z.infer<typeof timedParts>;

const command = { command: commandKey, instanceId: z.string() };

const cardMethods = Object.keys(cardContract) as [keyof typeof cardContract];

/** What a cell asks of the host's card, by way of its agent: the critical phase, and network state. */
export const relayedToCard = {
  'card.status': cardContract['card.status'],
  'card.applyVpc': cardContract['card.applyVpc'],
  'card.removeVpc': cardContract['card.removeVpc'],
  'card.prepareAdministrative': cardContract['card.prepareAdministrative'],
  'card.attachPort': cardContract['card.attachPort'],
  'card.detachPort': cardContract['card.detachPort'],
  'card.openQueue': cardContract['card.openQueue'],
  'card.setQueue': cardContract['card.setQueue'],
  'card.closeQueue': cardContract['card.closeQueue'],
  'card.plugPort': cardContract['card.plugPort'],
  'card.prepareRedirect': cardContract['card.prepareRedirect'],
  'card.redirectPort': cardContract['card.redirectPort'],
  'card.exportFlows': cardContract['card.exportFlows'],
  'card.importFlows': cardContract['card.importFlows'],
  'card.activatePort': cardContract['card.activatePort'],
  'card.counters': cardContract['card.counters'],
} as const;

/** Cell → host. */
export const hostContract = {
  'host.describe': {
    params: empty,
    result: z.object({
      hostId: z.string(),
      zone: z.string(),
      vtep: z.string(),
      accelerator: z.string(),
      capacity: hostCapacity,
      vms: z.array(vmReport),
      card: z.enum(['ok', 'degraded']),
    }),
  },
  /** Makes the image present in the host's cache (fetched from the region by digest). */
  'vm.ensureImage': {
    params: z.object({ ...command, image: imageRef }),
    result: z.object({ fetched: z.boolean() }),
  },
  /** The two network operations of a launch (S1.2): tap, VPC attachment, metadata. */
  'vm.prepareNetwork': {
    params: z.object({
      ...command,
      vpc: vpcState,
      port: vpcPort,
      metadata: vmMetadata,
      /** false on the target of a migration: the port is attached but receives nothing yet. */
      activate: z.boolean(),
    }),
    result: z.object({ administrative: networkOperation, vpc: networkOperation }),
  },
  /** Starts the VMM. Requirement, image and both network results are required; missing any: refused (S1.4). Keeps an existing disk. */
  'vm.launch': {
    params: z.object({
      ...command,
      requirement: vmRequirement,
      image: imageRef,
      network: z.object({ administrative: networkOperation, vpc: networkOperation }),
      /** Incoming: waits for a migration instead of booting. */
      incoming: z.boolean(),
      /** Incoming: what the source offered; refused without, unless this host moves VMs in the clear. */
      peer: migrationCredential.optional(),
    }),
    result: z.object({
      state: vmState,
      /** Set when incoming: where the source sends memory and the disk. */
      migration: z
        .object({ memoryUri: z.string(), diskUri: z.string(), peer: migrationCredential.optional() })
        .optional(),
    }),
  },
  /** Powers down: ACPI first unless `force`, killed after `graceMs`. The disk stays. */
  'vm.stop': {
    params: z.object({ ...command, force: z.boolean(), graceMs: z.number().int() }),
    result: z.object({ state: vmState }),
  },
  'vm.reboot': { params: z.object({ ...command }), result: empty },
  /** Leaves nothing: process, cgroup, tap, card state, files (S1.12). Unknown VM: nothing to do. */
  'vm.destroy': { params: z.object({ ...command }), result: empty },
  /** Detaches the network of a stopped VM, keeping its disk. */
  'vm.detachNetwork': { params: z.object({ ...command }), result: empty },
  'vm.describe': { params: z.object({ instanceId: z.string() }), result: vmReport },
  'vm.console': {
    params: z.object({ instanceId: z.string() }),
    result: z.object({ output: z.string(), at: z.string() }),
  },
  /** Source: what its VMM will prove itself with to the target's. Repeated: the same, until the copy starts. */
  'migrate.offer': {
    params: z.object({ ...command }),
    result: z.object({ peer: migrationCredential.optional() }),
  },
  /** Source: starts copying disk and memory to the target. Returns at once. */
  'migrate.start': {
    params: z.object({
      ...command,
      memoryUri: z.string(),
      diskUri: z.string(),
      /** What the target's VMM proves itself with. */
      peer: migrationCredential.optional(),
      bandwidthMaxMibPerS: z.number().optional(),
    }),
    result: empty,
  },
  'migrate.progress': {
    params: z.object({ instanceId: z.string() }),
    result: z.object({
      phase: z.enum(['none', 'disk', 'memory', 'converged', 'failed', 'completed']),
      remainingBytes: z.number(),
      totalBytes: z.number(),
      expectedDowntimeMs: z.number(),
      reason: z.string().optional(),
    }),
  },
  /** Both, before the packets are held: writes out what the disk holds back. Source: lets memory flow without limit until little is left, or for a bounded time. */
  'migrate.flush': { params: z.object({ instanceId: z.string() }), result: empty },
  /**
   * Source, critical phase: send the guest's packets to the queue, pause the guest, finish the disk mirror, hand over the rest of
   * memory; the source stays paused. `downtimeMs`: from the pause to the end of the handover.
   */
  'migrate.switch': {
    params: z.object({ ...command, budgetMs: z.number().int(), redirect: packetWay.optional() }),
    result: z.object({ downtimeMs: z.number(), parts: timedParts }),
  },
  /**
   * Target: runs the guest, which has arrived whole, then lets the packets of that interface's queue go to it. A target that has
   * learnt from the source's agent that the guest was handed over has done so by itself: then nothing more is done.
   */
  'migrate.commission': {
    params: z.object({ ...command, release: z.object({ eniId: z.string() }).optional() }),
    result: z.object({ parts: timedParts }),
  },
  /** Target, after the commissioning: answers once the guest makes progress, and forgets what only the move needed. */
  'migrate.confirm': { params: z.object({ ...command }), result: empty },
  /** Source: gives up the migration and runs on. */
  'migrate.cancel': { params: z.object({ ...command }), result: z.object({ state: vmState }) },
  ...relayedToCard,
  /** The form of the last release of the methods above, for a processor of that release: `params` by the card's contract. */
  'card.call': {
    params: z.object({
      method: z.enum([...cardMethods, ...Object.values(formerCardMethods)]),
      params: z.unknown(),
    }),
    result: z.object({ result: z.unknown() }),
  },
} as const;

/** Host → cell. Sent to every processor that the host is connected to. */
export const hostEventsContract = {
  'host.hello': {
    params: z.object({
      hostId: z.string(),
      zone: z.string(),
      vtep: z.string(),
      accelerator: z.string(),
      capacity: hostCapacity,
      card: z.enum(['ok', 'degraded']),
      vms: z.array(vmReport),
    }),
    /** Refused with Conflict when the host belongs to another cell (S3.2). */
    result: z.object({ cellId: z.string(), reportEveryMs: z.number().int() }),
  },
  'host.report': {
    params: z.object({
      hostId: z.string(),
      /** Grows by one per report of this agent's life. */
      sequence: z.number().int(),
      card: z.enum(['ok', 'degraded']),
      memoryAvailableMib: z.number(),
      loadAverage1: z.number(),
      vms: z.array(vmReport),
    }),
    result: empty,
  },
} as const;
