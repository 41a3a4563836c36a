/** What a cell processor asks of a host (real agent or simulated), and what a host tells its cell. */
import { z } from 'zod';
import { cardContract, formerCardMethods } from './card.ts';
import { networkOperation, vmMetadata, vpcPort, vpcState } from './network.ts';
import { hostCondition, hostRebuildSteps, hostWanted, stepOutcome } from './rebuild.ts';

const empty = z.object({});

/**
 * Who commands: the host refuses former owners of the instance and of the workflow (StaleEpoch; the rule is in fences.ts), and answers
 * a repeated step from its record.
 */
export const commandKey = z.object({
  workflowId: z.string(),
  step: z.string(),
  /** Grows by one each time another processor takes the workflow over. */
  epoch: z.number().int(),
  /** The instance's, under which this was decided. Absent: sent by a cell of the last release. */
  generation: z.number().int().nonnegative().optional(),
});
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
  /** Mbit/s of the uplink that VMs share. Absent: not counted (agents of the last release). */
  networkMbps: z.number().positive().optional(),
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

/** Why a VM's VMM ended, and what is known of it. */
export const vmEnded = z.object({
  /**
   * `guest-shutdown`: the guest powered itself off, by the VMM's own word. `requested`: its cell asked. `host-restarted`: the
   * machine went down under it. `failed-to-start`: it never ran. `killed`: everything else, what nobody can explain included.
   */
  cause: z.enum(['guest-shutdown', 'requested', 'killed', 'host-restarted', 'failed-to-start']),
  /** When the host saw it; ISO 8601. */
  at: z.string(),
  /** For people: the signal, the VMM's reason, its last words. */
  detail: z.string().optional(),
});
export type VmEnded = z.infer<typeof vmEnded>;

/**
 * What a host knows of how a VM is, for those who judge it. Facts alone: a part that is not known is absent. Durations are milliseconds,
 * by the host's own clock. Of a VM on its way to or from another host, or whose guest has not begun, nothing is told.
 */
export const vmHealth = z.object({
  /** The VMM's run state in QEMU's words (`running`, `paused`, `io-error`, `guest-panicked` …). Absent: it does not answer. */
  runState: z.string().max(64).optional(),
  /** The VMM stands still since a write found no room on the host's disk. */
  noSpace: z.boolean().optional(),
  /** Whether the guest has been heard of since it booted: it asked for its address or for metadata, or answered ARP. */
  configured: z.boolean().optional(),
  /** For how long it has been listened to for that, since the boot or since this host came to listen. */
  listenedMs: z.number().nonnegative().optional(),
  /** This host has seen the guest boot; otherwise it came to it later (a new agent, a migration). */
  bootSeen: z.boolean().optional(),
  /** For how long its processors have used no time though it runs. */
  stalledMs: z.number().nonnegative().optional(),
  /** How often the guest has reset itself lately. */
  resets: z.number().int().nonnegative().optional(),
});
export type VmHealth = z.infer<typeof vmHealth>;

const share = z.number().min(0).max(1);

/**
 * How hard a host is pressed, for those who judge it: shares of the last `windowMs`, by the kernel's own counters. Facts alone: what the
 * host cannot know is absent.
 */
export const hostPressure = z.object({
  windowMs: z.number().positive(),
  /** Time of its processors that whoever runs this machine gave to others. */
  stealShare: share.optional(),
  /** Periods in which a control group above all VMs had used up its quota. */
  throttledShare: share.optional(),
  /** Time in which somebody waited for memory. */
  memoryStallShare: share.optional(),
  /** Time in which somebody waited for a disk. */
  ioStallShare: share.optional(),
  /** Time in which the disk of the VMs had something to do. */
  diskBusyShare: share.optional(),
  /** The busier direction of its network, of the bandwidth that it has. */
  networkShare: share.optional(),
});
export type HostPressure = z.infer<typeof hostPressure>;

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
  /** The highest generation that this host has heard of it. */
  generation: z.number().int().optional(),
  /** Of a VM whose VMM has ended. Absent where it never had one, and from hosts of the last release: then the cause is not known. */
  ended: vmEnded.optional(),
  /** Of a VM that has a VMM; absent from hosts of the last release. */
  health: vmHealth.optional(),
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
/** Where a peer of the last release sends no key. */
const commandOptional = { command: commandKey.optional(), instanceId: z.string() };

const cardMethods = Object.keys(cardContract) as [keyof typeof cardContract];

const relayKey = { command: commandKey.optional(), instanceId: z.string().optional() };
/** What a relayed call carries besides the card's own parameters. */
export type RelayKey = {
  readonly command?: CommandKey | undefined;
  readonly instanceId?: string | undefined;
};

const relay = <P extends z.ZodRawShape, R extends z.ZodType>(method: {
  params: z.ZodObject<P>;
  result: R;
}) => ({
  params: method.params.extend(relayKey),
  result: method.result,
});

/**
 * What a cell asks of the host's card, by way of its agent: the critical phase, and network state. About an instance's port: with the key
 * and the instance, refused like any command of a former owner.
 */
export const relayedToCard = {
  'card.status': relay(cardContract['card.status']),
  'card.applyVpc': relay(cardContract['card.applyVpc']),
  'card.objects': relay(cardContract['card.objects']),
  'card.transact': relay(cardContract['card.transact']),
  'card.preview': relay(cardContract['card.preview']),
  'card.confirm': relay(cardContract['card.confirm']),
  'card.probe': relay(cardContract['card.probe']),
  'card.removeVpc': relay(cardContract['card.removeVpc']),
  'card.prepareAdministrative': relay(cardContract['card.prepareAdministrative']),
  'card.attachPort': relay(cardContract['card.attachPort']),
  'card.detachPort': relay(cardContract['card.detachPort']),
  'card.openQueue': relay(cardContract['card.openQueue']),
  'card.setQueue': relay(cardContract['card.setQueue']),
  'card.closeQueue': relay(cardContract['card.closeQueue']),
  'card.plugPort': relay(cardContract['card.plugPort']),
  'card.prepareRedirect': relay(cardContract['card.prepareRedirect']),
  'card.redirectPort': relay(cardContract['card.redirectPort']),
  'card.exportFlows': relay(cardContract['card.exportFlows']),
  'card.importFlows': relay(cardContract['card.importFlows']),
  'card.activatePort': relay(cardContract['card.activatePort']),
  'card.counters': relay(cardContract['card.counters']),
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
  /**
   * The host belongs to another cell from now on (S3.2): its pin is changed under a generation, and it obeys this cell no more. The same
   * move again answers again. @throws IncorrectState where it has VMs; StaleEpoch where it was moved under this generation or a newer one
   */
  'host.rehome': {
    params: z.object({
      to: z.object({ cellId: z.string(), cellNumber: z.number().int(), region: z.string().optional() }),
      generation: z.number().int().min(2),
    }),
    result: z.object({ generation: z.number().int() }),
  },
  'vm.ensureImage': {
    params: z.object({ ...command, image: imageRef }),
    result: z.object({ fetched: z.boolean() }),
  },
  /** The two network operations of a launch (S1.2): tap, VPC attachment, metadata. */
  'vm.prepareNetwork': {
    params: z.object({
      ...command,
      /** The whole of it, for an agent that the card's parts are not told by; absent: `declared`. */
      vpc: vpcState.optional(),
      /** The card has been told what it needs of this VPC; not so (it has been removed since): `InvalidVpcID.NotFound`. */
      declared: z.object({ vpcId: z.string(), mtu: z.number().int() }).optional(),
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
      /** Only with the disk that the VM had: none here is IncorrectState, never a fresh one. */
      diskRequired: z.boolean().optional(),
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
  /**
   * What the metadata service answers for the VM from now on. It changes no life of it, like a reboot. `revision` grows with each
   * change of the instance: an older one than was carried out is StaleEpoch. No network prepared: IncorrectInstanceState.
   */
  'vm.updateMetadata': {
    params: z.object({ ...command, metadata: vmMetadata, revision: z.number().int() }),
    result: empty,
  },
  /** Leaves nothing: process, cgroup, tap, card state, files (S1.12). Unknown VM: nothing to do. */
  'vm.destroy': { params: z.object({ ...command }), result: empty },
  /** Detaches the network of a stopped VM, keeping its disk. */
  'vm.detachNetwork': { params: z.object({ ...command }), result: empty },
  'vm.describe': { params: z.object({ instanceId: z.string() }), result: vmReport },
  /** Everything that the host knows of a VM, for who has no row of it. Parts are absent that it does not know. */
  'vm.inspect': {
    params: z.object({ instanceId: z.string() }),
    result: z.object({
      report: vmReport,
      image: imageRef.optional(),
      network: z.object({ vpcId: z.string(), port: vpcPort }).optional(),
      metadata: vmMetadata.optional(),
    }),
  },
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
    params: z.object({ ...commandOptional }),
    result: z.object({
      phase: z.enum(['none', 'disk', 'memory', 'converged', 'failed', 'completed']),
      remainingBytes: z.number(),
      totalBytes: z.number(),
      expectedDowntimeMs: z.number(),
      reason: z.string().optional(),
    }),
  },
  /** Both, before the packets are held: writes out what the disk holds back. Source: lets memory flow without limit until little is left, or for a bounded time. */
  'migrate.flush': { params: z.object({ ...commandOptional }), result: empty },
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
  'rebuild.condition': { params: empty, result: hostCondition },
  /** One step of a rebuild of the host itself: rebuild.ts. `command.generation` is the host's. @throws StaleEpoch, IncorrectState */
  'rebuild.step': {
    params: z.object({ command: commandKey, step: z.enum(hostRebuildSteps), wanted: hostWanted }),
    result: stepOutcome,
  },
  ...relayedToCard,
  /** The form of the last release of the methods above, for a processor of that release: `params` by the card's contract. */
  'card.call': {
    params: z.object({
      ...relayKey,
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
      /** Hosts of one rack are near each other. Absent: not told. */
      rack: z.string().max(64).optional(),
      /** What it can do beside running VMs with its accelerator: features of its processors, devices. */
      capabilities: z.array(z.string().max(64)).max(64).optional(),
      /** The cell that the host was pinned to when it first joined one; absent before that, and from hosts of the last release. */
      pinnedTo: z
        .object({
          cellId: z.string(),
          region: z.string().optional(),
          /** Grows with each move to another cell; absent: the first, 1. */
          generation: z.number().int().optional(),
        })
        .optional(),
    }),
    /**
     * Refused with Conflict when the host belongs to another cell (S3.2). The host checks the answer by its own pin too, and serves
     * no call before. `region` and `cellNumber` are absent from processors of the last release.
     */
    result: z.object({
      cellId: z.string(),
      reportEveryMs: z.number().int(),
      region: z.string().optional(),
      cellNumber: z.number().int().optional(),
    }),
  },
  'host.report': {
    params: z.object({
      hostId: z.string(),
      /** Grows by one per report of this agent's life. */
      sequence: z.number().int(),
      card: z.enum(['ok', 'degraded']),
      memoryAvailableMib: z.number(),
      loadAverage1: z.number(),
      /** What its disk can take of VMs in all, as the file system is now; absent: as the host said at its hello. */
      diskCapacityMib: z.number().int().nonnegative().optional(),
      /** Bandwidth that its VMs share, as it is known now; absent: as the host said at its hello. */
      networkMbps: z.number().positive().optional(),
      /** Absent: not measured yet, and from hosts of the last release. */
      pressure: hostPressure.optional(),
      vms: z.array(vmReport),
    }),
    result: empty,
  },
} as const;
