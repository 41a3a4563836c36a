/**
 * Rebuilds of a host, step by step (S5.2): what its cell asks, and what the host answers. Every step may be repeated, and leaves the host
 * as the first time. The host's own generation fences them, by the rule of fences.ts: a former owner's step is StaleEpoch.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from './canonicalJson.ts';
import { vmMetadata, vpcPort, vpcState } from './network.ts';

/** In their order; carried out by the host itself. */
export const hostRebuildSteps = [
  /** Looks for anything of a tenant's; where there is none, the host takes no VM from then on. The proof that `scrub` asks for. */
  'verifyEmpty',
  /** The card lets nothing in or out of the underlay. */
  'isolate',
  /** Card and agent begin anew; answered by the next agent. */
  'powerCycle',
  'firmwareCheck',
  'diagnostics',
  /** Overwrites and reads back. IncorrectState without the proof, under this very generation, that the host is empty. */
  'scrub',
  'hostImage',
  'slotLayout',
  'networkConfiguration',
  /** Launches a VM of the host's own, waits until its guest is heard, and removes it. */
  'validationLaunch',
  'returnToService',
  /** Not of the list: a rebuild that was given up before it changed anything takes `verifyEmpty` back. */
  'reopen',
] as const;
export type HostRebuildStep = (typeof hostRebuildSteps)[number];

/** What a host can tell of itself just now. */
export const hostCondition = z.object({
  /** Of the machine's present boot. */
  bootId: z.string().max(64),
  /** Changes when the agent or the card begins anew. */
  lives: z.string().max(128),
  /** Of the versions that run, and of those that the next boot would run. */
  firmware: z.string().max(64),
  firmwareStaged: z.string().max(64),
  /** Of the code that the agent runs. */
  image: z.string().max(64),
  layout: z.string().max(64),
  network: z.string().max(64),
  /** The machine's error counters, summed. */
  errors: z.number().int().nonnegative(),
  /** What makes all that is on record worthless, for people; empty: nothing. */
  dirty: z.array(z.string().max(256)).max(16),
});
export type HostCondition = z.infer<typeof hostCondition>;

/** How a host's capacity is to be cut. */
export const slotLayout = z.object({
  vcpuOversubscription: z.number().min(1).max(20).optional(),
  memoryOversubscription: z.number().min(1).max(20).optional(),
  /** Pages of 2 MiB that are set aside; absent: the machine's setting is left alone. */
  hugePages: z.number().int().nonnegative().optional(),
});
export type SlotLayoutWanted = z.infer<typeof slotLayout>;

/** What the steps are to bring about. Each step reads its own part. */
export const hostWanted = z.object({
  /** Versions by component; empty: whatever runs is right. */
  firmware: z.record(z.string().max(64), z.string().max(128)).optional(),
  /** Digest of the agent's code; absent: whatever lies on the host's disk. */
  image: z.string().max(64).optional(),
  layout: slotLayout.optional(),
  /** Diagnostics: all that can be tested, rather than a share of it. */
  thorough: z.boolean().optional(),
  validation: z
    .object({
      instanceId: z.string(),
      image: z.object({ imageId: z.string(), digest: z.string() }),
      requirement: z.object({
        vcpus: z.number(),
        memoryMib: z.number().int(),
        rootDiskMib: z.number().int(),
      }),
      vpc: vpcState,
      port: vpcPort,
      metadata: vmMetadata,
    })
    .optional(),
});
export type HostWanted = z.infer<typeof hostWanted>;

/** What a step found and did. */
export const stepOutcome = z.object({
  /** false: the step says that this host is not fit to go on. */
  ok: z.boolean(),
  /** The host was not yet as the step leaves it. */
  changed: z.boolean(),
  /** For people. */
  detail: z.string().max(4_096),
  condition: hostCondition,
});
export type StepOutcome = z.infer<typeof stepOutcome>;

/** What a host says of its network when it is as `networkConfiguration` leaves it. */
export const networkAsConfigured = 'as-configured';

const digestOf = (value: unknown): string =>
  createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 16);

/** Names a layout: what a host reports is compared with what its pool wants. */
export const layoutDigest = (layout: SlotLayoutWanted = {}): string =>
  digestOf({
    vcpus: layout.vcpuOversubscription ?? 1,
    memory: layout.memoryOversubscription ?? 1,
    hugePages: layout.hugePages ?? null,
  });

/** Names versions by component. */
export const firmwareDigest = (versions: Readonly<Record<string, string>> = {}): string => digestOf(versions);
