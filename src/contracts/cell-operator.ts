/** Operator → cell processor: what an operator sees of a cell, and starts in it. */
import { z } from 'zod';

const workflowState = z.enum(['running', 'undoing', 'done', 'undone', 'stuck']);

export const cellOperatorContract = {
  /** Moves a running instance to another host, live. Without a target the cell chooses one. Answers when the workflow is durable. */
  'operator.migrate': {
    params: z.object({ instanceId: z.string(), targetHostId: z.string().optional() }),
    result: z.object({ workflowId: z.string(), sourceHostId: z.string(), targetHostId: z.string() }),
  },
  'operator.workflow': {
    params: z.object({ workflowId: z.string() }),
    result: z.object({
      workflowId: z.string(),
      kind: z.string(),
      subject: z.string(),
      state: workflowState,
      cancel: z.boolean(),
      owner: z.string(),
      epoch: z.number().int(),
      /** The table of the workflow, in order. */
      steps: z.array(
        z.object({
          name: z.string(),
          why: z.string(),
          done: z.boolean(),
          ms: z.number().optional(),
          attempts: z.number().int().optional(),
          /** What the step returned, for people. */
          result: z.unknown().optional(),
        }),
      ),
      error: z.object({ code: z.string(), message: z.string(), step: z.string() }).optional(),
      createdAt: z.string(),
      updatedAt: z.string(),
    }),
  },
  'operator.hosts': {
    params: z.object({}),
    result: z.object({
      cellId: z.string(),
      hosts: z.array(
        z.object({
          hostId: z.string(),
          zone: z.string(),
          vtep: z.string(),
          accelerator: z.string(),
          state: z.enum(['active', 'draining']),
          card: z.enum(['ok', 'degraded']),
          /** Whether this processor has a stream to it. */
          connected: z.boolean(),
          heardAt: z.string(),
          capacity: z.object({ vcpus: z.number(), memoryMib: z.number(), diskMib: z.number() }),
          used: z.object({ vcpus: z.number(), memoryMib: z.number(), diskMib: z.number() }),
        }),
      ),
    }),
  },
  /** VMs that hosts have and no row accounts for: they run on until an operator adopts or removes them. */
  'operator.quarantined': {
    params: z.object({}),
    result: z.object({
      vms: z.array(
        z.object({
          instanceId: z.string(),
          hostId: z.string(),
          /** `no-row`, `other-cell` (its id names another cell), `elsewhere` (its row names another host, which did not prove it). */
          reason: z.string(),
          /** As its host told of it last. */
          state: z.string(),
          firstSeen: z.string(),
          lastSeen: z.string(),
        }),
      ),
    }),
  },
  /**
   * Gives a VM in quarantine a row again, from what its host and the region know. `hostId`: needed where several hosts have one.
   * @throws NotFound, IncorrectState (with what is missing), InsufficientInstanceCapacity, HostUnreachable
   */
  'operator.adoptVm': {
    params: z.object({ instanceId: z.string(), hostId: z.string().optional() }),
    result: z.object({
      instanceId: z.string(),
      hostId: z.string(),
      accountId: z.string(),
      state: z.enum(['running', 'stopped']),
    }),
  },
  /** Destroys a VM in quarantine, disk included. @throws NotFound, IncorrectState, HostUnreachable */
  'operator.removeVm': {
    params: z.object({ instanceId: z.string(), hostId: z.string().optional() }),
    result: z.object({ hostId: z.string() }),
  },
  'operator.instances': {
    params: z.object({ hostId: z.string().optional() }),
    result: z.object({
      instances: z.array(
        z.object({
          instanceId: z.string(),
          accountId: z.string(),
          state: z.string(),
          instanceType: z.string(),
          hostId: z.string().optional(),
          /** Other host of a migration that is under way. */
          otherHostId: z.string().optional(),
          workflowId: z.string().optional(),
          locked: z.boolean(),
        }),
      ),
    }),
  },
} as const;
