/** Changes in waves (S8), as the region answers its operator: policies, rollouts, what was done and by whom. */
import { z } from 'zod';
import { kernelDifference } from './kernel-preview.ts';
import { objectDigest, objectKind } from './network-objects.ts';
import { changeClass, policyName, policySpec, policyVersion } from './rollout-policy.ts';

export const rolloutPhase = z.enum([
  'pending',
  'applying',
  'baking',
  'halted',
  'rolling-back',
  'done',
  'rolled-back',
  'refused',
]);

export const rolloutAction = z.enum(['pause', 'resume', 'abort', 'approve']);
export type RolloutAction = z.infer<typeof rolloutAction>;

/** Objects of one change at most. */
export const objectsPerChangeMax = 64;

/** One object of a change. `from`: the version that devices must have (default: the one that they should have now). `body` null: taken away. */
export const changedObject = z.strictObject({
  kind: objectKind,
  id: z.string().min(1).max(128),
  vpcId: z.string().max(64).optional(),
  from: z.union([z.number().int().min(1), objectDigest]).optional(),
  body: z.unknown(),
});
export type ChangedObject = z.infer<typeof changedObject>;

const transition = z.object({
  kind: objectKind,
  id: z.string(),
  from: z.object({ version: z.number(), digest: z.string() }).nullable(),
  to: z.object({ version: z.number(), digest: z.string() }).nullable(),
  /** Members of the body that differ, `- mtu 1450`, `+ mtu 1400`. */
  diff: z.array(z.string()),
});

/** What a change would do to the kernels of its devices, as they say themselves. */
export const kernelShown = z.object({
  /** The same difference once: the devices (some of them by name) and namespaces that have it. No `vpcIds`: the devices' own namespaces. */
  differences: z.array(
    kernelDifference.extend({ devices: z.array(z.string()), deviceCount: z.number().int() }),
  ),
  /** Differences that are left out. */
  more: z.number().int(),
  /** Devices whose kernel would not change. */
  unchanged: z.number().int(),
  /** Devices that do not say, and why: one that has drifted would refuse. */
  unsaid: z.array(z.object({ why: z.string(), devices: z.array(z.string()), deviceCount: z.number().int() })),
  /** Devices beyond those that are asked. */
  notAsked: z.number().int(),
});
export type KernelShown = z.infer<typeof kernelShown>;

/** How many devices of a wave stand in each state. */
const waveView = z.object({ size: z.number().int(), states: z.record(z.string(), z.number().int()) });

export const rolloutSummary = z.object({
  rolloutId: z.string(),
  phase: rolloutPhase,
  policy: z.object({ name: z.string(), version: z.number().int() }),
  createdBy: z.string(),
  createdAt: z.string(),
  endedAt: z.string().optional(),
  wave: z.number().int(),
  waves: z.array(waveView),
  objects: z.array(z.string()),
  paused: z.boolean(),
  failure: z.object({ kind: z.string(), detail: z.string(), at: z.string() }).optional(),
  /** What it waits for, for people. */
  waitsFor: z.string().optional(),
});
export type RolloutSummary = z.infer<typeof rolloutSummary>;

const deviceView = z.object({
  deviceId: z.string(),
  wave: z.number().int(),
  state: z.string(),
  detail: z.string().optional(),
  changedAt: z.string(),
});

export const devicesShownMax = 1_000;

export const rolloutView = rolloutSummary.extend({
  /** Another one as soon as anything in this view is. Absent: a region of the last release. */
  revision: z.string().optional(),
  transitions: z.array(transition),
  /** Those that are not where their wave should be come first; `devicesShownMax` at most. */
  devices: z.array(deviceView),
});
export type RolloutView = z.infer<typeof rolloutView>;

export const auditEntry = z.object({
  auditId: z.number().int(),
  at: z.string(),
  who: z.string(),
  deviceId: z.string().optional(),
  what: z.string(),
  from: z.string(),
  to: z.string(),
  /** Which objects went from which digest to which. */
  objects: z.string().optional(),
  detail: z.string().optional(),
});

/** Entries of a page. */
const pageMax = 500;

const ofRollout = z.object({ rolloutId: z.string().max(64) });

export const rolloutContract = {
  /**
   * Another version of the policy, if there is one of that name already; under a `clientToken` that was used, the version that it made. Errors: `InvalidParameterValue`, `details.refusal` says by name what is wrong; `IdempotentParameterMismatch`.
   */
  'operator.createPolicy': {
    params: z.strictObject({
      name: policyName,
      spec: policySpec,
      clientToken: z.string().min(1).max(64).optional(),
    }),
    result: policyVersion,
  },
  /** The newest of each, with the defaults of the classes; of a name: all of its versions. */
  'operator.policies': {
    params: z.object({
      name: policyName.optional(),
      /** Without it: all. */
      limit: z.number().int().min(1).max(pageMax).optional(),
      after: z.string().max(64).optional(),
    }),
    result: z.object({ policies: z.array(policyVersion), next: z.string().optional() }),
  },
  /**
   * Errors by `details.refusal`: what is wrong with the policy or the change, and nothing is kept of it. A `clientToken` that was used:
   * the rollout that it made. `dryRun`: what would be done.
   */
  'operator.startRollout': {
    params: z.strictObject({
      policy: z.object({ name: policyName, version: z.number().int().min(1).optional() }).optional(),
      class: changeClass.default('fleet'),
      objects: z.array(changedObject).max(objectsPerChangeMax),
      clientToken: z.string().max(64).optional(),
      dryRun: z.boolean().default(false),
    }),
    result: z.object({
      /** Absent: a dry run. */
      rolloutId: z.string().optional(),
      policy: z.object({ name: z.string(), version: z.number().int() }),
      waves: z.array(z.array(z.string())),
      transitions: z.array(transition),
      /** Of a dry run. */
      kernel: kernelShown.optional(),
    }),
  },
  /** Every version of an object that was ever rolled out, the newest first; `devices`: how many should have it now. */
  'operator.objectVersions': {
    params: z.object({ kind: objectKind, id: z.string().max(128) }),
    result: z.object({
      versions: z.array(
        z.object({
          version: z.number().int(),
          digest: z.string(),
          createdBy: z.string(),
          createdAt: z.string(),
          devices: z.number().int(),
          body: z.unknown(),
        }),
      ),
    }),
  },
  /** What the change would do yet to the kernels of its devices, or of one of them: one that has it already is `unchanged`. */
  'operator.rolloutDiff': {
    params: ofRollout.extend({ deviceId: z.string().max(128).optional() }),
    result: kernelShown,
  },
  /** Those under way, and with `ended` also others, the newest first. */
  'operator.rollouts': {
    params: z.object({
      ended: z.boolean().default(false),
      limit: z.number().int().min(1).max(pageMax).default(50),
      /** The `next` of the page before. */
      after: z.string().max(64).optional(),
    }),
    result: z.object({ rollouts: z.array(rolloutSummary), next: z.string().optional() }),
  },
  /** With the `revision` that is known: waits up to `waitMs` for another one. */
  'operator.rollout': {
    params: ofRollout.extend({
      revision: z.string().max(64).optional(),
      waitMs: z.number().int().min(0).max(10_000).default(0),
    }),
    result: rolloutView,
  },
  'operator.rolloutAudit': {
    params: ofRollout.extend({
      after: z.number().int().min(0).default(0),
      limit: z.number().int().min(1).max(5_000).default(1_000),
    }),
    result: z.object({ records: z.array(auditEntry), next: z.string().optional() }),
  },
  /** Under a `clientToken` that was used for this rollout: what was answered then. Errors: `IncorrectState` (its phase does not allow it), `UnauthorizedOperation` (an approval from who may not give it), `NotFound`. */
  'operator.controlRollout': {
    params: ofRollout.extend({ action: rolloutAction, clientToken: z.string().min(1).max(64).optional() }),
    result: z.object({ phase: rolloutPhase }),
  },
} as const;
