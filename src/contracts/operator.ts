/** What the region answers to its operator (`spiffe://pando/operator/-/<name>`), beside everything else it answers. */
import { z } from 'zod';
import { profilePolicy, profileRecord } from './profiles.ts';
import { cellContents } from './region.ts';

/** Quotas that can be set for an account. */
export const quotaName = z.enum([
  'routes-per-route-table',
  'rules-per-security-group',
  'security-groups-per-interface',
  'security-groups-per-vpc',
]);
export type QuotaName = z.infer<typeof quotaName>;

export const operatorCell = z.object({
  cellId: z.string(),
  number: z.number().int(),
  zone: z.string(),
  state: z.enum(['active', 'draining', 'retired']),
  canary: z.boolean(),
  processors: z.array(z.string()),
  processorsConnected: z.number().int(),
  /** Accounts that have, or had, instances in it. */
  accounts: z.number().int(),
  /** Absent: it does not answer. */
  contents: cellContents.optional(),
});
export type OperatorCell = z.infer<typeof operatorCell>;

/** As in `spiffe://pando/operator/-/<name>`: who did what, and who may approve. */
export const operatorName = z.string().regex(/^[A-Za-z][A-Za-z0-9._-]{0,63}$/);

export const operatorContract = {
  /** Makes an account with a default VPC. The secret is told here once. A name that is taken: ResourceAlreadyExists. */
  'operator.createAccount': {
    params: z.object({ name: z.string().min(1).max(128) }),
    result: z.object({ accountId: z.string(), accessKeyId: z.string(), secretAccessKey: z.string() }),
  },
  /** Takes in a built image (a directory with `manifest.json`). The same content gives the same id again. */
  'operator.registerImage': {
    params: z.object({ directory: z.string(), name: z.string().min(3).max(128), public: z.literal(true) }),
    result: z.object({ imageId: z.string(), digest: z.string() }),
  },
  'operator.quotas': {
    params: z.object({ accountId: z.string() }),
    result: z.object({
      quotas: z.array(
        z.object({
          name: z.string(),
          value: z.number().int(),
          default: z.number().int(),
          max: z.number().int(),
        }),
      ),
    }),
  },
  /** Without a value: the default again. What the account already has above a lower quota stays. */
  'operator.setQuota': {
    params: z.object({
      accountId: z.string(),
      name: quotaName,
      value: z.number().int().nonnegative().optional(),
    }),
    result: z.object({}),
  },
  /** A profile that instances of the account can run with. A name that is taken: ResourceAlreadyExists. */
  'operator.createProfile': {
    params: z.object({ accountId: z.string(), name: z.string(), policy: profilePolicy }),
    result: profileRecord,
  },
  /** Of one account, or of all. */
  'operator.profiles': {
    params: z.object({ accountId: z.string().optional() }),
    result: z.object({
      profiles: z.array(profileRecord.extend({ accountId: z.string(), policy: profilePolicy })),
    }),
  },
  /** Instances keep its name, and their credentials are worth nothing any more. */
  'operator.deleteProfile': {
    params: z.object({ accountId: z.string(), name: z.string() }),
    result: z.object({}),
  },
  /** Of the key that signs the identity documents of instances, PEM; absent: the key cannot be opened (the region's log says why). */
  'operator.identityCertificate': {
    params: z.object({}),
    result: z.object({ certificate: z.string().optional() }),
  },
  /** Every cell that has ever joined, with what it says of itself. */
  'operator.cells': {
    params: z.object({}),
    result: z.object({ cells: z.array(operatorCell) }),
  },
  /** `drained`: whether it takes no launches; its VMs stay. @throws NotFound; IncorrectState for a retired one */
  'operator.setCell': {
    params: z.object({ cellId: z.string(), drained: z.boolean().optional(), canary: z.boolean().optional() }),
    result: z.object({ cell: operatorCell }),
  },
  /**
   * Ends a cell for ever; its number stays taken. The same again is answered again.
   * @throws NotFound; HostUnreachable where it does not answer itself; IncorrectState with what it still has, or until launches that began
   * before it was drained must have ended
   */
  'operator.retireCell': {
    params: z.object({ cellId: z.string() }),
    result: z.object({ cellId: z.string() }),
  },
  /** A key with which this operator signs requests to `/rollout/v1/`. The secret is told here once. */
  'operator.createKey': {
    params: z.object({ operator: operatorName }),
    result: z.object({ accessKeyId: z.string(), secretAccessKey: z.string(), operator: z.string() }),
  },
  'operator.keys': {
    params: z.object({}),
    result: z.object({
      keys: z.array(
        z.object({
          ...{ accessKeyId: z.string(), operator: z.string(), createdBy: z.string(), createdAt: z.string() },
        }),
      ),
    }),
  },
  /** It is good for nothing any more. Errors: `NotFound`. */
  'operator.deleteKey': { params: z.object({ accessKeyId: z.string().max(128) }), result: z.object({}) },
  'operator.status': {
    params: z.object({}),
    result: z.object({
      region: z.string(),
      accounts: z.number().int(),
      vpcs: z.number().int(),
      interfaces: z.number().int(),
      images: z.number().int(),
      publicAddresses: z.object({ free: z.number().int(), used: z.number().int() }),
      cells: z.array(
        z.object({ cellId: z.string(), number: z.number().int(), processorsConnected: z.number().int() }),
      ),
      gatewayConnected: z.boolean(),
    }),
  },
} as const;
