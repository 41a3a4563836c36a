/** The description of `/capacity/v1/` (OpenAPI 3.1), made of the shapes that are checked. */
import { z } from 'zod';
import {
  capacityLimits,
  createRequestInput,
  eventKind,
  eventView,
  requestState,
  requestView,
} from '#contracts/capacity.ts';

const schemaOf = (type: z.ZodType, io: 'input' | 'output'): object => {
  const { $schema: _dialect, ...schema } = z.toJSONSchema(type, { io });
  return schema;
};

const page = z.object({
  requests: z.array(requestView),
  next: z.string().optional(),
  unreachableCells: z.array(z.string()).optional(),
});
const events = z.object({
  events: z.array(eventView),
  cursor: z.string(),
  unreachableCells: z.array(z.string()).optional(),
});
const error = z.object({
  code: z.string(),
  message: z.string(),
  requestId: z.string(),
  details: z.record(z.string(), z.string()).optional(),
});

const webhook = z.object({ type: eventKind, timestamp: z.iso.datetime(), data: eventView });

const json = (name: string) => ({
  content: { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } },
});
const answers = (status: number, description: string, name: string) => ({
  responses: {
    [status]: { description, ...json(name) },
    default: { description: 'What went wrong', ...json('Error') },
  },
});
const parameter = (
  name: string,
  where: 'query' | 'path' | 'header',
  description: string,
  schema: object,
) => ({
  ...{ name, in: where, description, schema, required: where === 'path' },
});
const requestId = parameter('requestId', 'path', 'The id of the request', { type: 'string' });
const maxResults = parameter('maxResults', 'query', 'How many at most', {
  type: 'integer',
  minimum: 1,
  maximum: capacityLimits.pageMax,
});

const make = () => ({
  openapi: '3.1.0',
  info: {
    title: 'Pando: waiting for capacity',
    version: '1',
    description:
      'Requests for capacity that wait, and what they are told. Requests are signed with AWS Signature Version 4 for the service ec2, as those of the EC2 API are.',
  },
  servers: [{ url: '/capacity/v1' }],
  security: [{ sigv4: [] }],
  paths: {
    '/requests': {
      post: {
        operationId: 'createRequest',
        requestBody: { required: true, ...json('CreateRequest') },
        ...answers(201, 'The request, which waits', 'Request'),
      },
      get: {
        operationId: 'listRequests',
        parameters: [
          maxResults,
          parameter('after', 'query', 'The `next` of the page before', { type: 'string' }),
          parameter('state', 'query', 'Only these states', {
            type: 'array',
            items: schemaOf(requestState, 'output'),
          }),
        ],
        ...answers(200, 'A page of the requests, in the order of their ids', 'RequestPage'),
      },
    },
    '/requests/{requestId}': {
      parameters: [requestId],
      get: { operationId: 'showRequest', ...answers(200, 'The request', 'Request') },
      delete: {
        operationId: 'cancelRequest',
        ...answers(200, 'The request, cancelled: what was reserved for it is given back', 'Request'),
      },
    },
    '/events': {
      get: {
        operationId: 'events',
        description:
          'Events, oldest first. With `accept: text/event-stream` they are sent as they come; `Last-Event-ID` (or `cursor`) says after which.',
        parameters: [
          maxResults,
          parameter('cursor', 'query', 'The `cursor` of the answer before', { type: 'string' }),
          parameter('requestId', 'query', 'Only of this request', { type: 'string' }),
          parameter('waitSeconds', 'query', 'How long to wait where there is none', {
            type: 'integer',
            minimum: 0,
            maximum: capacityLimits.eventsWaitSecondsMax,
          }),
          parameter('Last-Event-ID', 'header', 'The `id` of the last event that was read', {
            type: 'string',
          }),
        ],
        responses: {
          200: {
            description: 'Events',
            content: {
              ...json('EventPage').content,
              'text/event-stream': { schema: { $ref: '#/components/schemas/Event' } },
            },
          },
          default: { description: 'What went wrong', ...json('Error') },
        },
      },
    },
  },
  webhooks: {
    event: {
      post: {
        description:
          'Sent to a request’s callback, signed after Standard Webhooks with the request’s `signingSecret`. `webhook-id` is the event’s id, the same each time it is sent; any answer of 2xx is taken for received.',
        requestBody: { required: true, ...json('Webhook') },
        responses: { '2XX': { description: 'Received' } },
      },
    },
  },
  components: {
    securitySchemes: {
      sigv4: {
        ...{ type: 'apiKey', in: 'header', name: 'Authorization' },
        description: 'AWS Signature Version 4, service ec2',
      },
    },
    schemas: {
      CreateRequest: schemaOf(createRequestInput, 'input'),
      Request: schemaOf(requestView, 'output'),
      RequestPage: schemaOf(page, 'output'),
      Event: schemaOf(eventView, 'output'),
      EventPage: schemaOf(events, 'output'),
      Webhook: schemaOf(webhook, 'output'),
      Error: schemaOf(error, 'output'),
    },
  },
});

let made: string | undefined;

/** As JSON text. */
export const openApiDocument = (): string => {
  made ??= JSON.stringify(make());
  return made;
};
