/** The description of `/rollout/v1/` (OpenAPI 3.1), made of the table that is answered by and the shapes that are checked. */
import { z } from 'zod';
import { rolloutContract } from '#contracts/rollout.ts';
import { type RolloutHttpOperation, rolloutHttpOperations } from '#contracts/rollout-http.ts';
import { vpcChangesContract } from '#contracts/vpc-changes.ts';

const schemaOf = (type: z.ZodType, io: 'input' | 'output'): object => {
  const { $schema: _dialect, ...schema } = z.toJSONSchema(type, { io, unrepresentable: 'any' });
  return schema;
};

type Shapes = Readonly<Record<string, { readonly body?: z.ZodType; readonly result: z.ZodType }>>;

const controlled = {
  body: rolloutContract['operator.controlRollout'].params.pick({ clientToken: true }),
  result: rolloutContract['operator.controlRollout'].result,
};

/** What each operation takes and gives, by its id. */
const shapes: Shapes = {
  createPolicy: {
    body: rolloutContract['operator.createPolicy'].params,
    result: rolloutContract['operator.createPolicy'].result,
  },
  listPolicies: { result: rolloutContract['operator.policies'].result },
  showPolicy: { result: rolloutContract['operator.policies'].result },
  startRollout: {
    body: rolloutContract['operator.startRollout'].params,
    result: rolloutContract['operator.startRollout'].result,
  },
  listRollouts: { result: rolloutContract['operator.rollouts'].result },
  showRollout: { result: rolloutContract['operator.rollout'].result },
  rolloutDiff: { result: rolloutContract['operator.rolloutDiff'].result },
  rolloutAudit: { result: rolloutContract['operator.rolloutAudit'].result },
  ...{ pause: controlled, resume: controlled, abort: controlled, approve: controlled },
  vpcChanges: { result: vpcChangesContract['operator.vpcChanges'].result },
  tenantVersions: { result: vpcChangesContract['operator.tenantVersions'].result },
  restoreObject: {
    body: vpcChangesContract['operator.restoreObject'].params.omit({ kind: true, id: true }),
    result: vpcChangesContract['operator.restoreObject'].result,
  },
  objectVersions: { result: rolloutContract['operator.objectVersions'].result },
};

const error = z.object({
  ...{ code: z.string(), message: z.string(), requestId: z.string() },
  details: z.record(z.string(), z.string()).optional(),
});

const json = (schema: object) => ({ content: { 'application/json': { schema } } });

const operationOf = ({ operationId, path, summary, status, query, hasBody }: RolloutHttpOperation) => ({
  ...{ operationId, summary },
  parameters: [
    ...path
      .split('/')
      .filter((part) => part.startsWith('{'))
      .map((part) => ({
        ...{ name: part.slice(1, -1), in: 'path', required: true, schema: { type: 'string' } },
      })),
    ...query.map(({ name, type, description, max }) => ({
      ...{ name, in: 'query', required: false, description },
      schema: { type, ...(max !== undefined && { minimum: 0, maximum: max }) },
    })),
  ],
  ...(hasBody && {
    requestBody: {
      required: status === 201,
      ...json(schemaOf(shapes[operationId]?.body ?? z.unknown(), 'input')),
    },
  }),
  responses: {
    [status]: {
      description: summary,
      content: {
        ...json(schemaOf(shapes[operationId]?.result ?? z.unknown(), 'output')).content,
        ...(operationId === 'showRollout' && { 'text/event-stream': { schema: { type: 'string' } } }),
      },
    },
    default: { description: 'What went wrong', ...json({ $ref: '#/components/schemas/Error' }) },
  },
});

const make = () => {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of rolloutHttpOperations)
    paths[`/${operation.path}`] = {
      ...paths[`/${operation.path}`],
      [operation.method.toLowerCase()]: operationOf(operation),
    };
  return {
    openapi: '3.1.0',
    info: {
      ...{ title: 'Pando: changes in waves', version: '1' },
      description:
        'Policies and rollouts, for operators. Requests are signed with AWS Signature Version 4 for the service ec2, with a key that `pando operator key create` makes; keys of accounts are refused. With `accept: text/event-stream` a rollout is sent each time that something in it is new.',
    },
    servers: [{ url: '/rollout/v1' }],
    security: [{ sigv4: [] }],
    paths,
    components: {
      securitySchemes: {
        sigv4: {
          ...{ type: 'apiKey', in: 'header', name: 'Authorization' },
          description: 'AWS Signature Version 4, service ec2',
        },
      },
      schemas: { Error: schemaOf(error, 'output') },
    },
  };
};

let made: string | undefined;

/** As JSON text. */
export const rolloutApiDocument = (): string => {
  made ??= JSON.stringify(make());
  return made;
};
