/**
 * `/rollout/v1/`: rollouts and policies over HTTP and JSON, the operations of the command line. Requests are signed (AWS Signature Version 4,
 * service `ec2`) with a key of an operator's own. A router only passes them on as they came: the region checks the signature, so that no
 * router can do an operator's work by itself. This table is what the region answers by and what the OpenAPI document is made of.
 */
import { z } from 'zod';

export const rolloutHttpPath = '/rollout/v1/';

/** What a request may be at most. */
export const rolloutHttpLimits = {
  bodyBytesMax: 512 * 1024,
  headersMax: 64,
  pathCharsMax: 512,
  queryCharsMax: 2_048,
  pageDefault: 50,
  pageMax: 500,
  /** How long `GET rollouts/{rolloutId}` waits for something new. */
  waitSecondsMax: 8,
} as const;

/** Where in the request a member of the operation's parameters comes from. */
interface Query {
  readonly name: string;
  readonly type: 'integer' | 'boolean' | 'string';
  readonly description: string;
  readonly max?: number;
}

export interface RolloutHttpOperation {
  readonly operationId: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Below `/rollout/v1/`; `{name}` is one segment. */
  readonly path: string;
  readonly summary: string;
  readonly status: number;
  readonly query: readonly Query[];
  readonly hasBody: boolean;
}

const maxResults: Query = {
  ...{ name: 'maxResults', type: 'integer', max: rolloutHttpLimits.pageMax },
  description: `How many at most; ${rolloutHttpLimits.pageDefault} unless it is said`,
};
const after: Query = { name: 'after', type: 'string', description: 'The `next` of the page before' };
const page = [maxResults, after] as const;

const get = <I extends string>(
  operationId: I,
  path: string,
  summary: string,
  query: readonly Query[] = [],
): RolloutHttpOperation & { readonly operationId: I } => ({
  ...{ operationId, method: 'GET', path, summary, status: 200, query, hasBody: false },
});

const action = <I extends string>(
  operationId: I,
  summary: string,
): RolloutHttpOperation & { readonly operationId: I } => ({
  ...{ operationId, method: 'POST', path: `rollouts/{rolloutId}/${operationId}`, summary, status: 200 },
  ...{ query: [], hasBody: true },
});

export const rolloutHttpOperations = [
  {
    operationId: 'createPolicy',
    method: 'POST',
    path: 'policies',
    status: 201,
    query: [],
    hasBody: true,
    summary: 'Stores a policy; under a name that there is, its next version',
  },
  get('listPolicies', 'policies', 'The newest version of each policy, in the order of their names', page),
  get('showPolicy', 'policies/{name}', 'The versions of one policy, the newest first', page),
  {
    operationId: 'startRollout',
    method: 'POST',
    path: 'rollouts',
    status: 201,
    query: [],
    hasBody: true,
    summary:
      'Begins a change in waves; with `dryRun` what it would do, in each kernel too, and nothing is kept',
  },
  get('listRollouts', 'rollouts', 'Rollouts, the newest first', [
    ...page,
    { name: 'ended', type: 'boolean', description: 'Those too that have ended' },
  ]),
  get('showRollout', 'rollouts/{rolloutId}', 'One rollout; it can be watched', [
    {
      ...{ name: 'revision', type: 'string' },
      description: 'The `revision` that is known: the answer waits for another one',
    },
    {
      ...{ name: 'waitSeconds', type: 'integer', max: rolloutHttpLimits.waitSecondsMax },
      description: 'How long it waits where nothing is new',
    },
  ]),
  get('rolloutDiff', 'rollouts/{rolloutId}/diff', 'What it would change yet in the kernels of its devices', [
    { name: 'deviceId', type: 'string', description: 'Of this device alone' },
  ]),
  get('rolloutAudit', 'rollouts/{rolloutId}/audit', 'Who did what to which device, the oldest first', page),
  action('pause', 'Nothing new begins; devices that have applied stay as they are'),
  action('resume', 'Goes on; in a halted rollout, accepts what has failed so far'),
  action('abort', 'Takes every device that was touched back to the first state'),
  action('approve', 'Lets the wave begin that waits for an approval of the caller'),
  get('vpcChanges', 'vpcs/{vpcId}/changes', 'Who changed what of a VPC, the newest first', [
    ...page,
    { name: 'objectId', type: 'string', description: 'Only of this object' },
  ]),
  get(
    'tenantVersions',
    'tenants/{kind}/{id}/versions',
    'The versions of an object of a tenant that are kept',
  ),
  {
    operationId: 'restoreObject',
    method: 'POST',
    path: 'tenants/{kind}/{id}/restore',
    summary: 'Puts a former version of an object of a tenant back',
    status: 200,
    query: [],
    hasBody: true,
  },
  get('objectVersions', 'objects/{kind}/{id}/versions', 'The versions of an object that were rolled out'),
] as const satisfies readonly RolloutHttpOperation[];

export type RolloutHttpOperationId = (typeof rolloutHttpOperations)[number]['operationId'];

/** Of a request that a client may send again: one that was begun under this token is not begun twice. */
export const clientToken = z.string().min(1).max(64);

/** A request as it was signed, and what it is answered with. */
export const rolloutHttpContract = {
  'rollout.http': {
    params: z.object({
      requestId: z.string().max(64),
      method: z.string().max(16),
      path: z.string().max(rolloutHttpLimits.pathCharsMax),
      query: z.string().max(rolloutHttpLimits.queryCharsMax),
      headers: z.record(z.string(), z.array(z.string()).max(rolloutHttpLimits.headersMax)),
      body: z.string().max(rolloutHttpLimits.bodyBytesMax),
      /** Of a stream: the revision that its client was sent. */
      watched: z.string().max(64).optional(),
    }),
    result: z.object({
      status: z.number().int(),
      body: z.unknown(),
      operationId: z.string().optional(),
      /** Absent: nobody's; it counts against those who guess. */
      operator: z.string().optional(),
      accessKeyId: z.string().optional(),
    }),
  },
} as const;
