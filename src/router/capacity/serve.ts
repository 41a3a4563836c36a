/** `/capacity/v1/` over HTTP and JSON, signed like the EC2 API. Its description is `GET /capacity/v1/openapi.json`, for everybody. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { monotonicMs } from '#base/monotonic.ts';
import { traceOf, withTrace } from '#base/trace.ts';
import { capacityLimits } from '#contracts/capacity.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VerifiedSignature } from '#wire/sigv4/verify.ts';
import { authenticate } from '../http/authenticate.ts';
import { readBody } from '../http/readBody.ts';
import { type Progress, splitTarget } from '../http/readRequest.ts';
import { shownError } from '../http/respond.ts';
import { sendJson } from '../http/sendJson.ts';
import type { EndpointOptions } from '../http/server.ts';
import { shownMessage } from '../http/shownMessage.ts';
import type { AccessKey } from '../regionLink.ts';
import type { CapacityRequest } from './backend.ts';
import { parseCursor } from './cursor.ts';
import { type EventsAsked, readEvents, type StreamLeave, Streams, streamEvents } from './events.ts';
import { openApiDocument } from './openapi.ts';
import { dispatchCapacity, numberIn } from './operations.ts';

export const capacityPath = '/capacity/v1/';
const capacityBodyBytesMax = 64 * 1024;
const documentPath = 'openapi.json';
const auditedActionCharsMax = 128;

const streams = new Streams();

export const serveCapacity = (
  options: EndpointOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  const requestId = randomUUID();
  if (request.url === capacityPath + documentPath && request.method === 'GET') {
    sendJson(response, 200, requestId, openApiDocument());
    return Promise.resolve();
  }
  return withTrace(traceOf(requestId, request.headers.traceparent), () =>
    answer(options, request, response, requestId),
  );
};

const answer = async (
  options: EndpointOptions,
  request: IncomingMessage,
  response: ServerResponse,
  requestId: string,
): Promise<void> => {
  const startedMs = monotonicMs();
  const progress: Progress = { service: 'ec2' };
  const log = (facts: Readonly<Record<string, unknown>>): void => {
    const ms = Math.round((monotonicMs() - startedMs) * 10) / 10;
    options.log.info({ requestId, account: progress.accountId, action: progress.action, ms, ...facts });
  };
  let asked: CapacityRequest | undefined;
  const audited = (outcome: { readonly output?: unknown; readonly error?: PandoError }): void => {
    const { caller, service, action } = progress;
    if (caller === undefined || asked === undefined) return;
    options.audit?.add({
      ...{ requestId, atMs: options.read.now(), region: options.read.regionName, service, caller },
      action: action ?? `${asked.method} ${capacityPath}${asked.path}`.slice(0, auditedActionCharsMax),
      readOnly: asked.method === 'GET',
      input: { path: asked.path, query: Object.fromEntries(asked.query), body: asked.body },
      sourceAddress: request.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '',
      userAgent: request.headers['user-agent'] ?? '',
      ...outcome,
    });
  };
  try {
    using reserved = new DisposableStack();
    const signed = await read(options, request, requestId, progress, reserved);
    asked = signed.asked;
    if (asked.path === 'events' && asked.method === 'GET') {
      progress.action = 'events';
      await sendEvents(options, request, response, signed, reserved);
      log({ status: 200 });
      audited({});
      return;
    }
    const { operation, status, body } = await dispatchCapacity(options.parts, asked);
    progress.action = operation;
    sendJson(response, status, requestId, JSON.stringify(body));
    log({ status });
    audited({ output: body });
  } catch (thrown) {
    const error = shownError(thrown);
    const { code, message, details, status } = error;
    const headers: Record<string, string> = request.complete ? {} : { connection: 'close' };
    if (!response.headersSent)
      sendJson(response, status, requestId, JSON.stringify({ code, message, requestId, details }), headers);
    audited({ error });
    log({ status, code, ...(status >= 500 && { cause: shownMessage(thrown) }) });
  }
};

interface SignedRequest {
  readonly asked: CapacityRequest;
  readonly signature: VerifiedSignature<AccessKey>;
}

const read = async (
  { read: options }: EndpointOptions,
  request: IncomingMessage,
  requestId: string,
  progress: Progress,
  reserved: DisposableStack,
): Promise<SignedRequest> => {
  const { path, query } = splitTarget(request.url ?? '/');
  // Read and parsed at once: no request of this API is so long that it would take slices.
  const bodyBytesMax = Math.min(options.bodyBytesMax, capacityBodyBytesMax);
  const body = await readBody(request, { ...options, bodyBytesMax }, reserved);
  reserved.defer(options.admission.enter());
  const signature = await authenticate(request, { path, query, body }, options, progress, reserved);
  const { key } = signature;
  const method = request.method ?? '';
  if (key.policy === 'read-only' && method !== 'GET')
    throw new PandoError(
      'UnauthorizedOperation',
      `You are not authorized to perform this operation. User: ${key.arn} may only read.`,
    );
  const asked = {
    ...{ method, path: path.slice(capacityPath.length), query: new URLSearchParams(query) },
    body: parse(body.bytes),
    call: { requestId, accountId: key.accountId, principal: key.arn },
  };
  return { asked, signature };
};

/** As long as a new request of the same key would be taken; a region that cannot be asked changes nothing. */
const leaveOf = (
  { read: { keys, now }, limits }: EndpointOptions,
  { accessKeyId, key: { sessionToken, expiresAtMs } }: VerifiedSignature<AccessKey>,
): StreamLeave => ({
  everyMs: limits.keyTtlMs,
  isGood: async () => {
    if (expiresAtMs !== undefined && now() >= expiresAtMs) return false;
    const found = keys.get(accessKeyId, sessionToken).then((key) => key !== undefined);
    return await found.catch(() => true);
  },
});

const parse = (body: Buffer): unknown => {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString());
  } catch (cause) {
    throw new PandoError('InvalidRequest', 'The body is not JSON.', { cause });
  }
};

const sendEvents = async (
  options: EndpointOptions,
  request: IncomingMessage,
  response: ServerResponse,
  { asked: { call, query }, signature }: SignedRequest,
  reserved: DisposableStack,
): Promise<void> => {
  const { parts } = options;
  const lastEventId = request.headers['last-event-id'];
  const asked: EventsAsked = {
    call,
    cursor: parseCursor(lastEventId === undefined ? query.get('cursor') : String(lastEventId)),
    maxResults: numberIn(query, 'maxResults', capacityLimits.pageMax) ?? capacityLimits.pageDefault,
    waitSeconds: numberIn(query, 'waitSeconds', capacityLimits.eventsWaitSecondsMax) ?? 0,
    requestId: query.get('requestId') ?? undefined,
  };
  if (!/\btext\/event-stream\b/.test(request.headers.accept ?? '')) {
    sendJson(response, 200, call.requestId, JSON.stringify(await readEvents(parts, asked)));
    return;
  }
  using stream = new DisposableStack();
  stream.defer(streams.enter(call.accountId));
  // A stream is a request of its own kind: it takes none of the places of those that are answered at once.
  reserved.dispose();
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-amzn-requestid': call.requestId,
    server: 'Pando',
  });
  await streamEvents(parts, asked, response, leaveOf(options, signature));
};
