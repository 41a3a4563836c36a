/** What is written down of one VM: enough for another process to take over (S1.13). */
import { z } from 'zod';
import { instanceFence } from '#contracts/fences.ts';
import {
  imageRef,
  migrationCredential,
  packetWay,
  vmEnded,
  vmRequirement,
  vmState,
} from '#contracts/host.ts';
import { networkOperation, vpcPort } from '#contracts/network.ts';
import { processIdentity } from './process.ts';

/** The VM's interface as prepared, with both recorded results (S1.2). */
export const preparedNetwork = z.object({
  vpcId: z.string(),
  port: vpcPort,
  mtu: z.number().int(),
  activate: z.boolean(),
  administrative: networkOperation,
  vpc: networkOperation,
  /** Where the tap is: ours until a VMM has opened it, then the card's. */
  tapAt: z.enum(['host', 'card']),
});
export type PreparedNetwork = z.infer<typeof preparedNetwork>;

export const workflowRecord = z.object({
  workflowId: z.string(),
  /** The newest epoch that has commanded here. */
  epoch: z.number().int(),
  /** Results of its steps, in the order in which they were done. */
  steps: z.array(z.object({ step: z.string(), result: z.unknown() })),
});
export type WorkflowRecord = z.infer<typeof workflowRecord>;

/** This host's part in a migration of the VM. */
export const migrationRecord = z.discriminatedUnion('role', [
  z.object({
    role: z.literal('source'),
    memoryUri: z.string(),
    diskUri: z.string(),
    bandwidthMaxMibPerS: z.number().optional(),
    phase: z.enum(['copying', 'switching', 'completed', 'failed']),
    /** The VMM was told to send memory: what it says of a migration is of this one, not of an earlier one. */
    sending: z.boolean().optional(),
    /** Where the card was told to send the guest's packets, from before it was told. */
    redirect: packetWay.optional(),
    downtimeMs: z.number().optional(),
    reason: z.string().optional(),
  }),
  z.object({
    role: z.literal('target'),
    memoryUri: z.string(),
    diskUri: z.string(),
    peer: migrationCredential.optional(),
    /** The source's agent: where it is asked whether the guest was handed over, and who it must be. */
    handover: z.object({ host: z.string(), port: z.number().int(), identity: z.string() }).optional(),
  }),
]);
export type MigrationRecord = z.infer<typeof migrationRecord>;

export const vmRecord = z.object({
  instanceId: z.string(),
  /** Unprivileged uid of the VMM; this VM's alone on this host. */
  uid: z.number().int(),
  tap: z.string().regex(/^[a-z0-9-]{1,15}$/),
  state: vmState,
  reason: z.string().optional(),
  /** Its first record was lost: what it has on the card is asked of the card. */
  recovered: z.boolean().optional(),
  requirement: vmRequirement.optional(),
  image: imageRef.optional(),
  network: preparedNetwork.optional(),
  /** Of what its guest is told by the metadata service; absent: as it was at the last start. */
  metadataRevision: z.number().int().optional(),
  process: processIdentity.optional(),
  /** The machine's boot under which that process was started; absent in records of the last release. */
  bootId: z.string().optional(),
  /** We asked this guest, or its VMM, to end: an end from here on is ours. */
  endAsked: z.boolean().optional(),
  /** Its guest ran on the disk that is here. Absent in records of the last release too. */
  hasRun: z.boolean().optional(),
  /** Why its last VMM ended; written before that VMM is let go where the guest shut itself down. */
  ended: vmEnded.optional(),
  migration: migrationRecord.optional(),
  workflows: z.array(workflowRecord),
  /** Whose commands are obeyed. Absent: none has come with a generation yet. */
  fence: instanceFence.optional(),
});
export type VmRecord = z.infer<typeof vmRecord>;
