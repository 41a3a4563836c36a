/** Operator → cell processor: what an operator sees of a cell, and starts in it. */
import { z } from 'zod';

const workflowState = z.enum(['running', 'undoing', 'waiting', 'stuck', 'done', 'undone']);
const workflowError = z.object({ code: z.string(), message: z.string(), step: z.string() });

/** A workflow as a list shows it. */
const workflowSummary = z.object({
  workflowId: z.string(),
  kind: z.string(),
  version: z.number().int(),
  /** `instance`, `host`: what `subject` names. */
  subjectKind: z.string(),
  subject: z.string(),
  state: workflowState,
  /** Which way a waiting or stuck one goes on. */
  resume: z.enum(['running', 'undoing']).optional(),
  /** Where it stands; of one that runs, the last step that the store knows of. */
  step: z.string().optional(),
  /** Times in a row that this step was put off because it failed. */
  attempts: z.number().int(),
  /** What a waiting one waits for: `host/h-…`, `region`, `signal NAME`, `children`, `time`. */
  waitsFor: z.array(z.string()).optional(),
  /** When it is looked at at the latest. */
  wakeAt: z.string().optional(),
  /** Whether it has stood there for longer than it should. */
  overdue: z.boolean(),
  cancel: z.boolean(),
  /** Why it is undone, or why it waits or is stuck. */
  error: workflowError.optional(),
  parentId: z.string().optional(),
  createdAt: z.string(),
  updatedAt: z.string(),
});

/** `networkMbps` is null where it is not counted. */
const capacityAmount = z.object({
  vcpus: z.number(),
  memoryMib: z.number(),
  diskMib: z.number(),
  networkMbps: z.number().nullable(),
});
const slotCount = z.object({ type: z.string(), count: z.number().int() });

const poolLayout = z.object({
  vcpuOversubscription: z.number().optional(),
  memoryOversubscription: z.number().optional(),
  types: z.array(z.string().max(64)).max(64).optional(),
});

/** What a rebuild would do, or does, in the order of its steps. */
const shownStrategy = z.object({
  level: z.enum(['reduced', 'full', 'diagnostics']),
  steps: z.array(
    z.object({
      step: z.string(),
      decision: z.enum(['keep', 'skip']),
      why: z.string(),
      /** What would stand in for it, and how old that is. */
      evidence: z.object({ kind: z.string(), ageMs: z.number(), words: z.string() }).optional(),
      /** Upper bound of the probability that leaving it out is wrong. */
      riskMax: z.number().optional(),
      expectedMs: z.number(),
    }),
  ),
  expectedMs: z.number(),
  fullMs: z.number(),
});

export const cellOperatorContract = {
  /** Pools with what they have and lack, and which hosts are about to change theirs. */
  'operator.pools': {
    params: z.object({}),
    result: z.object({
      cellId: z.string(),
      pools: z.array(
        z.object({
          ...{ name: z.string(), slotType: z.string(), hostClass: z.string().optional() },
          ...{ low: z.number().int(), target: z.number().int(), layout: poolLayout },
          ...{ have: z.number().int(), want: z.number().int(), lacks: z.number().int() },
          /** Hosts beyond its target. */
          spares: z.number().int(),
          /** Hosts that waiting demand asks for. */
          demanded: z.number().int(),
          /** Why what it lacks is not coming. */
          unmet: z.string().optional(),
          hosts: z.array(z.string()),
        }),
      ),
      changes: z.array(
        z.object({ hostId: z.string(), from: z.string().optional(), to: z.string(), why: z.string() }),
      ),
    }),
  },
  /** Makes a pool or changes one. `hosts`: of no pool yet; they join it as they are. @throws InvalidParameterValue, NotFound, IncorrectState */
  'operator.setPool': {
    params: z.object({
      ...{
        name: z.string().max(64),
        slotType: z.string().max(64),
        hostClass: z.string().max(128).optional(),
      },
      ...{ low: z.number(), target: z.number(), layout: poolLayout.default({}) },
      hosts: z.array(z.string()).max(1_000).optional(),
    }),
    result: z.object({ name: z.string() }),
  },
  /** Its hosts are of no pool then. @throws NotFound */
  'operator.dropPool': { params: z.object({ name: z.string() }), result: z.object({ name: z.string() }) },
  /** So many instances of a type are waited for. */
  'operator.demand': {
    params: z.object({ type: z.string().max(64), count: z.number().int().min(0).max(1_000_000) }),
    result: z.object({}),
  },
  /** A host, what is on record of it, and what a rebuild of it would do now. @throws NotFound */
  'operator.host': {
    params: z.object({ hostId: z.string(), pool: z.string().optional(), full: z.boolean().optional() }),
    result: z.object({
      ...{ hostId: z.string(), hostClass: z.string(), pool: z.string().optional() },
      ...{ state: z.string(), phase: z.string().optional(), phaseReason: z.string() },
      workflowId: z.string().optional(),
      restsUntil: z.string().optional(),
      /** What lies there; a host that is rebuilt must have none of it. */
      there: z.array(z.string()),
      steps: z.array(
        z.object({
          step: z.string(),
          ageMs: z.number(),
          ok: z.boolean(),
          changed: z.boolean(),
          ms: z.number(),
        }),
      ),
      /** Absent: the host does not answer. */
      strategy: shownStrategy.optional(),
    }),
  },
  /** Out of placement, and its VMs elsewhere; `undo`: VMs are placed there again. @throws NotFound, IncorrectState */
  'operator.drainHost': {
    params: z.object({
      hostId: z.string(),
      undo: z.boolean().optional(),
      /** VMs are moved also outside of the event windows that their accounts have set. */
      ignoreWindows: z.boolean().optional(),
    }),
    result: z.object({ workflowId: z.string().optional(), there: z.array(z.string()) }),
  },
  /** @throws NotFound, IncorrectState, HostUnreachable */
  'operator.rebuildHost': {
    params: z.object({
      hostId: z.string(),
      pool: z.string().optional(),
      /** Every step, whatever is on record. */
      full: z.boolean().optional(),
      /** Every step, with the thorough diagnostics. */
      diagnose: z.boolean().optional(),
      /** As of a drain. */
      ignoreWindows: z.boolean().optional(),
    }),
    result: z.object({ workflowId: z.string(), strategy: shownStrategy }),
  },
  /** Moves a running instance to another host, live. Without a target the cell chooses one. Answers when the workflow is durable. */
  'operator.migrate': {
    params: z.object({ instanceId: z.string(), targetHostId: z.string().optional() }),
    result: z.object({ workflowId: z.string(), sourceHostId: z.string(), targetHostId: z.string() }),
  },
  'operator.workflow': {
    params: z.object({ workflowId: z.string() }),
    result: z.object({
      ...workflowSummary.shape,
      owner: z.string(),
      epoch: z.number().int(),
      /** The table of the workflow, in order; empty where this release does not have its version. */
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
      children: z.array(workflowSummary).optional(),
    }),
  },
  /** Workflows that have not ended: stuck and overdue ones first, then the oldest. `ended` adds those that have. */
  'operator.workflows': {
    params: z.object({
      states: z.array(workflowState).max(6).optional(),
      kind: z.string().max(64).optional(),
      subject: z.string().max(128).optional(),
      ended: z.boolean().optional(),
      limit: z.number().int().min(1).max(1_000).optional(),
    }),
    result: z.object({
      workflows: z.array(workflowSummary),
      /** How many there are in each state, beyond those shown too. */
      counts: z.array(z.object({ state: workflowState, n: z.number().int() })),
    }),
  },
  /** Tries a waiting or stuck workflow again now, with all its tries before it. @throws NotFound, IncorrectState */
  'operator.retryWorkflow': {
    params: z.object({ workflowId: z.string() }),
    result: z.object({ workflowId: z.string() }),
  },
  /** Asks a workflow to stop and undo what it did. @throws NotFound, IncorrectState where it can only go forward */
  'operator.cancelWorkflow': {
    params: z.object({ workflowId: z.string() }),
    result: z.object({ workflowId: z.string() }),
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
          pool: z.string().optional(),
          /** Of a draining host, why: `draining`, `rebuilding`, `out-of-service`. */
          phase: z.string().optional(),
          phaseReason: z.string().optional(),
          /** The workflow that has the host. */
          workflowId: z.string().optional(),
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
          /**
           * `no-row`, `other-cell` (its id names another cell), `elsewhere` (its row names another host, which did not prove it),
           * `newer` (its row has ended, and its host has heard of a later change).
           */
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
  /** What fits where, by the claims of this moment: how many more of each type, and the slots of the hosts with most room. */
  'operator.capacity': {
    params: z.object({
      /** Default: the catalogue, and whatever has been asked for lately. */
      types: z.array(z.string().max(64)).max(64).optional(),
      /** Root disk that each VM has, MiB; default 8 GiB. */
      diskMib: z.number().int().positive().optional(),
      hosts: z.number().int().min(0).max(1_000).optional(),
    }),
    result: z.object({
      cellId: z.string(),
      hostsOpen: z.number().int(),
      hostsAll: z.number().int(),
      /** Each type's share of what was asked for lately, 0..1. */
      demand: z.array(z.object({ type: z.string(), weight: z.number() })),
      types: z.array(
        z.object({
          type: z.string(),
          /** How many more of it, if nothing else comes. */
          more: z.number().int(),
          /** Hosts with room for one. */
          hosts: z.number().int(),
          /** Slots that the best mix promises it beside those of other types. */
          actual: z.number().int(),
          /** The biggest types first, as many of each as fit: this many. */
          tiered: z.number().int(),
        }),
      ),
      hosts: z.array(
        z.object({
          hostId: z.string(),
          open: z.boolean(),
          free: capacityAmount,
          actual: z.array(slotCount),
          potential: z.array(z.object({ type: z.string(), of: z.array(slotCount) })),
        }),
      ),
    }),
  },
  /** Where a type fits, or why it fits nowhere: the nearest hosts first. @throws InvalidParameterValue for a type that does not exist */
  'operator.explainCapacity': {
    params: z.object({
      type: z.string().max(128),
      diskMib: z.number().int().positive().optional(),
      hosts: z.number().int().min(1).max(1_000).optional(),
      /** As a member of this placement group, by its id. */
      groupId: z.string().max(64).optional(),
      /** In this partition of it; default: the one that is due. */
      partition: z.number().int().positive().optional(),
      /** For this account; dedicated: on a host without VMs of others. */
      accountId: z.string().max(64).optional(),
      dedicated: z.boolean().optional(),
    }),
    result: z.object({
      cellId: z.string(),
      type: z.string(),
      asked: capacityAmount,
      /** Hosts that have room. */
      fitting: z.number().int(),
      hosts: z.array(
        z.object({
          hostId: z.string(),
          fits: z.boolean(),
          /** Why it takes no new VMs: `draining`, `silent`. */
          closed: z.string().optional(),
          /** 1: no adverse reports about this type there; 0: they have withdrawn it. */
          fitness: z.number(),
          lacks: z.array(z.object({ dimension: z.string(), free: z.number(), asked: z.number() })),
          /** The constraint that excludes it: capability, tenancy, spread, cluster, partition. A cell of the last release knows none. */
          constraint: z.string().optional(),
          /** The same for people, with what it was about. */
          constraintDetail: z.string().optional(),
        }),
      ),
    }),
  },
  /** Compares counters with claims (and computes those anew that differ) and claims with instances. */
  'operator.checkClaims': {
    params: z.object({}),
    result: z.object({
      cellId: z.string(),
      claims: z.number().int(),
      drifts: z.array(
        z.object({ hostId: z.string(), counted: z.array(z.number()), claimed: z.array(z.number()) }),
      ),
      misfits: z.array(z.object({ kind: z.string(), subject: z.string(), hostId: z.string() })),
    }),
  },
  /** Webhooks that were given up, the last ones first. */
  'operator.deadLetters': {
    params: z.object({ limit: z.number().int().min(1).max(1_000).optional() }),
    result: z.object({
      cellId: z.string(),
      letters: z.array(
        z.object({
          ...{ eventId: z.string(), requestId: z.string(), accountId: z.string(), kind: z.string() },
          ...{ url: z.string(), attempts: z.number().int(), reason: z.string(), at: z.string() },
        }),
      ),
    }),
  },
  /** They are tried again, with all their tries before them: one, an account's, or all. @throws NotFound */
  'operator.replayDeadLetters': {
    params: z.object({ eventId: z.string().max(64).optional(), accountId: z.string().max(64).optional() }),
    result: z.object({ replayed: z.number().int() }),
  },
  /**
   * Gives a host to another cell: once it is draining and has nothing, its pin is changed and this cell forgets it. The same again is
   * answered again. @throws NotFound, HostUnreachable; IncorrectState with what it still has
   */
  'operator.rehomeHost': {
    params: z.object({
      hostId: z.string(),
      to: z.object({ cellId: z.string(), cellNumber: z.number().int() }),
    }),
    result: z.object({ hostId: z.string(), cellId: z.string(), generation: z.number().int() }),
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
