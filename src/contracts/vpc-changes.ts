/** The record of tenants' changes (S8.6), and the way back, as the region answers its operator. */
import { z } from 'zod';
import { objectDigest, objectKind } from './network-objects.ts';

export const vpcChange = z.object({
  changeId: z.number().int(),
  at: z.string(),
  vpcId: z.string(),
  /** Of the VPC, with this change. */
  version: z.number().int(),
  accountId: z.string(),
  /** ARN, or `operator/NAME`. Absent, as the two that follow: a cell asked for it; its request's id finds the call in the audit log. */
  principal: z.string().optional(),
  accessKeyId: z.string().optional(),
  requestId: z.string().optional(),
  action: z.string().optional(),
  /** Ids in the request. */
  named: z.array(z.string()),
  /** What changed for devices, besides places. */
  objects: z.array(
    z.object({
      ...{ kind: z.string(), id: z.string(), version: z.number().int() },
      from: z.string().optional(),
      to: z.string(),
    }),
  ),
  /** `untold`: nothing of it concerns a device. `pending`: not every device is known to have it. */
  outcome: z.enum(['enforced', 'pending', 'untold']),
  enforcedAt: z.string().optional(),
});
export type VpcChange = z.infer<typeof vpcChange>;

export const vpcChangesContract = {
  /** The newest first. Of one object: those that named it, or that changed it. */
  'operator.vpcChanges': {
    params: z.object({
      vpcId: z.string().max(64),
      objectId: z.string().max(128).optional(),
      limit: z.number().int().min(1).max(500).default(50),
      after: z.string().max(64).optional(),
    }),
    result: z.object({ changes: z.array(vpcChange), next: z.string().optional() }),
  },
  /** The versions of a tenant's object that are kept, the newest first. `devices`: how many are to have it now. */
  'operator.tenantVersions': {
    params: z.object({ kind: objectKind, id: z.string().max(128) }),
    result: z.object({
      versions: z.array(
        z.object({
          version: z.number().int(),
          digest: z.string(),
          madeAt: z.string(),
          devices: z.number().int(),
          body: z.unknown(),
        }),
      ),
    }),
  },
  /**
   * Puts a former version of a tenant's object back: what its owner's tables say becomes what it said then, and devices are told. Errors:
   * `NotFound` (no such object, or the version is not kept), `UnsupportedOperation` (nothing puts this kind back), `IncorrectState` (what it
   * refers to is gone, or it is so now), and EC2's own of the call that would do it (`InvalidCidrBlock.InUse`: a subnet lies in a range that
   * would go). `dryRun`: what would go and come, and nothing is changed.
   */
  'operator.restoreObject': {
    params: z.object({
      kind: objectKind,
      id: z.string().max(128),
      version: z.union([z.number().int().min(1), objectDigest]),
      dryRun: z.boolean().default(false),
    }),
    result: z.object({
      vpcId: z.string(),
      /** `- cidr 10.1.0.0/16`, `+ association rtb-…`; a rule as JSON. */
      lines: z.array(z.string()),
    }),
  },
} as const;
