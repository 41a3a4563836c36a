/** Each operation of `/rollout/v1/` as the command line's call that it is. */
import { z } from 'zod';
import type { CallContext, Handlers } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import { rolloutContract } from '#contracts/rollout.ts';
import {
  clientToken,
  type RolloutHttpOperation,
  type RolloutHttpOperationId,
  rolloutHttpLimits,
  rolloutHttpOperations,
  rolloutHttpPath,
} from '#contracts/rollout-http.ts';
import { vpcChangesContract } from '#contracts/vpc-changes.ts';

const contract = { ...rolloutContract, ...vpcChangesContract } as const;
type Contract = typeof contract;
export type RolloutHandlers = Required<Handlers<Contract>>;
type Method = keyof Contract;

export interface FoundOperation {
  readonly operation: (typeof rolloutHttpOperations)[number];
  /** Of its path, by name. */
  readonly segments: Readonly<Record<string, string>>;
}

export interface OperationRequest {
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly watched: string | undefined;
  readonly context: CallContext;
}

/** @throws InvalidAction */
export const findOperation = (method: string, path: string): FoundOperation => {
  const given = path.startsWith(rolloutHttpPath) ? path.slice(rolloutHttpPath.length).split('/', 8) : [];
  for (const operation of rolloutHttpOperations) {
    const segments = operation.method === method ? match(operation.path.split('/'), given) : undefined;
    if (segments !== undefined) return { operation, segments };
  }
  throw new PandoError(
    'InvalidAction',
    `There is no ${method.slice(0, 16)} ${path.slice(0, 80)}: GET ${rolloutHttpPath}openapi.json tells what there is.`,
  );
};

const match = (
  pattern: readonly string[],
  given: readonly string[],
): Readonly<Record<string, string>> | undefined => {
  if (pattern.length !== given.length) return undefined;
  const segments: Record<string, string> = {};
  for (const [at, part] of pattern.entries()) {
    const text = given[at] ?? '';
    if (!part.startsWith('{')) {
      if (part !== text) return undefined;
    } else if (text === '') return undefined;
    else segments[part.slice(1, -1)] = decoded(text);
  }
  return segments;
};

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new PandoError(
      'InvalidParameterValue',
      `${text.slice(0, 80)} is no part of a path: its escapes are none.`,
    );
  }
};

type Call = { [M in Method]: readonly [method: M, params: unknown] }[Method];

/** What a page or a question is asked with, as calls understand it. */
const callsOf: Readonly<Record<RolloutHttpOperationId, (asked: ReturnType<typeof readRequest>) => Call>> = {
  createPolicy: ({ body }) => ['operator.createPolicy', body],
  listPolicies: ({ page }) => ['operator.policies', page],
  showPolicy: ({ page, segments }) => ['operator.policies', { ...page, name: segments.name }],
  startRollout: ({ body }) => ['operator.startRollout', body],
  listRollouts: ({ page, query }) => ['operator.rollouts', { ...page, ended: query.ended ?? false }],
  showRollout: ({ segments, query, watched }) => [
    'operator.rollout',
    {
      ...segments,
      revision: watched ?? query.revision,
      waitMs:
        1_000 * Number(query.waitSeconds ?? (watched === undefined ? 0 : rolloutHttpLimits.waitSecondsMax)),
    },
  ],
  rolloutDiff: ({ segments, query }) => ['operator.rolloutDiff', { ...segments, ...query }],
  rolloutAudit: ({ segments, page }) => [
    'operator.rolloutAudit',
    {
      ...segments,
      limit: page.limit,
      ...(page.after !== undefined && { after: wholeNumber('after', page.after) }),
    },
  ],
  pause: (asked) => control('pause', asked),
  resume: (asked) => control('resume', asked),
  abort: (asked) => control('abort', asked),
  approve: (asked) => control('approve', asked),
  objectVersions: ({ segments }) => ['operator.objectVersions', segments],
  vpcChanges: ({ segments, page, query }) => ['operator.vpcChanges', { ...page, ...query, ...segments }],
  tenantVersions: ({ segments }) => ['operator.tenantVersions', segments],
  restoreObject: ({ segments, body }) => [
    'operator.restoreObject',
    { ...checked(restoreBody, body), ...segments },
  ],
};

const restoreBody = vpcChangesContract['operator.restoreObject'].params
  .omit({ kind: true, id: true })
  .strict();
const controlBody = z.strictObject({ clientToken: clientToken.optional() });

const control = (
  action: 'pause' | 'resume' | 'abort' | 'approve',
  { segments, body }: ReturnType<typeof readRequest>,
): Call => ['operator.controlRollout', { ...checked(controlBody, body ?? {}), ...segments, action }];

const readRequest = ({ operation, segments }: FoundOperation, { query, body, watched }: OperationRequest) => {
  const values = readQuery(operation, query);
  if (operation.hasBody ? body === undefined && operation.status === 201 : body !== undefined)
    throw new PandoError(
      'InvalidRequest',
      operation.hasBody
        ? 'The request has no body; JSON is expected.'
        : 'A request of this kind has no body.',
    );
  const { maxResults, after, ...rest } = values;
  return {
    ...{ segments, body, watched, query: rest },
    page: {
      limit: Number(maxResults ?? rolloutHttpLimits.pageDefault),
      ...(after !== undefined && { after: String(after) }),
    },
  };
};

/** @throws InvalidParameterValue also for a parameter that there is not: who misspells one would get another answer than was asked for */
const readQuery = (
  { query: known, operationId }: RolloutHttpOperation,
  query: URLSearchParams,
): Readonly<Record<string, string | number | boolean>> => {
  const values: Record<string, string | number | boolean> = {};
  for (const [name, text] of query) {
    // A presigned request has its signature there.
    if (name.startsWith('X-Amz-')) continue;
    const spec = known.find((each) => each.name === name);
    if (spec === undefined)
      throw new PandoError(
        'InvalidParameterValue',
        `${operationId} has no parameter ${name.slice(0, 64)}. It has: ${known.map((each) => each.name).join(' ') || 'none'}.`,
      );
    if (Object.hasOwn(values, name)) throw new PandoError('InvalidParameterValue', `${name} is given twice.`);
    values[name] = readValue(spec, text);
  }
  return values;
};

const readValue = (
  { name, type, max = 1_000_000_000 }: RolloutHttpOperation['query'][number],
  text: string,
): string | number | boolean => {
  if (type === 'integer') {
    const value = wholeNumber(name, text);
    const min = name === 'maxResults' ? 1 : 0;
    if (value < min || value > max)
      throw new PandoError('InvalidParameterValue', `${name} is a whole number from ${min} to ${max}.`);
    return value;
  }
  if (type === 'string') return text;
  if (text === 'true' || text === 'false') return text === 'true';
  throw new PandoError('InvalidParameterValue', `${name} is true or false, not ${text.slice(0, 32)}.`);
};

const wholeNumber = (name: string, text: string): number => {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new PandoError('InvalidParameterValue', `${name} is a whole number, not ${text.slice(0, 32)}.`);
};

const checked = <T>(shape: z.ZodType<T>, value: unknown): T => {
  const parsed = shape.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues
    .slice(0, 8)
    .map(({ path, message }) => `${path.join('.') || 'it'}: ${message}`);
  throw new PandoError('InvalidParameterValue', issues.join('; '));
};

type ToCall = (asked: ReturnType<typeof readRequest>) => Call;
type Handler = (params: unknown, context: CallContext) => unknown;

/** @throws what is wrong with the request, by name, and what the call throws */
export const carryOutOperation = async (
  handlers: RolloutHandlers,
  found: FoundOperation,
  request: OperationRequest,
): Promise<{ status: number; body: unknown }> => {
  const toCall: ToCall = callsOf[found.operation.operationId];
  const [method, params] = toCall(readRequest(found, request));
  const valid = checked<unknown>(contract[method].params, params);
  // Its parameters were read by the contract of this same method.
  const handler = handlers[method] as Handler;
  const body = await handler(valid, request.context);
  const isDryRun = method === 'operator.startRollout' && Reflect.get(Object(valid), 'dryRun') === true;
  return { status: isDryRun ? 200 : found.operation.status, body };
};
