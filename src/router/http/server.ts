/** The EC2 endpoint: bare HTTP with a limit on everything. */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from '#base/log.ts';
import { metrics } from '#base/metrics.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { beginSpan, exportsSpans } from '#base/spans.ts';
import { childOf, traceFrom, traceOf, withTrace } from '#base/trace.ts';
import type { PandoError } from '#contracts/errors.ts';
import { rolloutHttpPath } from '#contracts/rollout-http.ts';
import { isKnownAction } from '#wire/actions.ts';
import { isSafe } from '../actions.ts';
import type { AuditLog } from '../audit/log.ts';
import { capacityPath, serveCapacity } from '../capacity/serve.ts';
import type { RouterLimits } from '../config.ts';
import { dispatch } from '../dispatch.ts';
import type { Parts } from '../request.ts';
import { serveRollout } from '../rollout/serve.ts';
import { type Progress, type ReadOptions, readRequest } from './readRequest.ts';
import { encodeAnswer, sendError, sendXml, shownError } from './respond.ts';
import { shownMessage } from './shownMessage.ts';

export interface EndpointOptions {
  readonly parts: Parts;
  readonly read: ReadOptions;
  readonly limits: RouterLimits;
  readonly log: Logger;
  readonly audit?: AuditLog | undefined;
}

const healthPath = '/_pando/health';
const headerBytesMax = 32 * 1024;
const requestsPerSocketMax = 10_000;

/** A server that is not listening yet. */
export const createEndpoint = (options: EndpointOptions): Server => {
  const { limits } = options;
  const server = createServer(
    {
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: headerBytesMax,
    },
    (request, response) => {
      serve(options, request, response).catch((error: unknown) => {
        options.log.error({ err: error }, 'a request could not be answered');
        response.destroy();
      });
    },
  );
  server.maxConnections = limits.connectionsMax;
  server.maxRequestsPerSocket = requestsPerSocketMax;
  // Before the server's own listener, which begins to read.
  server.prependListener('connection', (socket: Socket) => void options.read.sources.admit(socket));
  server.on('clientError', refuseBytes);
  return server;
};

const serve = async (
  options: EndpointOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  // The client may go away at any point: what is written then is lost, and that is all.
  response.on('error', () => undefined);
  const path = (request.url ?? '').split('?', 1)[0];
  if (path === healthPath) sendHealth(options.parts, request, response);
  else if (path?.startsWith(capacityPath)) await serveCapacity(options, request, response);
  else if (path?.startsWith(rolloutHttpPath)) await serveRollout(options, request, response);
  else if (request.method === 'GET' || request.method === 'POST')
    await serveAction(options, request, response);
  else sendMethods(request, response);
};

/** Each request begins a trace, or goes on with its client's (`traceparent`): everything that is done for it carries it. */
const serveAction = (
  options: EndpointOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  const requestId = randomUUID();
  const asked = traceFrom(requestId, request.headers.traceparent);
  const trace = asked === undefined ? traceOf(requestId) : exportsSpans() ? childOf(asked) : asked;
  const endSpan = exportsSpans()
    ? beginSpan({ name: 'request', kind: 'server', trace, parent: asked })
    : undefined;
  return withTrace(trace, () => answerAction(options, request, response, requestId, endSpan));
};

const answerAction = async (
  options: EndpointOptions,
  request: IncomingMessage,
  response: ServerResponse,
  requestId: string,
  endSpan: ReturnType<typeof beginSpan> | undefined,
): Promise<void> => {
  const startedMs = monotonicMs();
  const progress: Progress = { service: 'ec2' };
  using reserved = new DisposableStack();
  const log = (facts: Readonly<Record<string, unknown>>, code = 'OK'): void => {
    count(progress.action, code, monotonicMs() - startedMs);
    endSpan?.(code === 'OK' ? undefined : code, { action: progress.action ?? 'none' });
    options.log.info({
      requestId,
      account: progress.accountId,
      action: progress.action,
      ms: Math.round((monotonicMs() - startedMs) * 10) / 10,
      ...facts,
    });
  };
  try {
    const { call, version, names } = await readRequest(request, requestId, options.read, progress, reserved);
    const own = await dispatch(options.parts, call);
    const answer = names === undefined ? own : { ...own, output: names.outward(own.output) };
    const { unreachable = [] } = answer;
    const body = await encodeAnswer(call.action, answer, requestId, version);
    const headers = unreachable.length > 0 ? { 'x-pando-unreachable-cells': unreachable.join() } : undefined;
    sendXml(response, 200, requestId, body, headers);
    audit(options, request, requestId, progress, { output: answer.output });
    log({ status: 200, backend: answer.backend, ...(headers && { unreachable }) });
  } catch (thrown) {
    const error = shownError(thrown);
    // A body that was not read to its end is still on its way: this connection is of no more use.
    const { pendingId } = error.details ?? {};
    const headers = {
      ...(request.complete ? {} : { connection: 'close' }),
      ...(pendingId === undefined ? {} : { 'x-pando-pending-id': pendingId }),
    };
    if (!response.headersSent) sendError(response, error, requestId, progress.service, headers);
    audit(options, request, requestId, progress, { error });
    const cause = error.status >= 500 && { cause: shownMessage(thrown) };
    log({ status: error.status, code: error.code, ...cause }, error.code);
  }
};

/** An action that there is not is whatever a client wrote: it is no label. */
const count = (action: string | undefined, code: string, ms: number): void => {
  const known = action !== undefined && isKnownAction(action) ? action : 'other';
  metrics.requests.inc({ action: known, code });
  metrics.requestSeconds.observe({ action: known }, ms / 1000);
};

/** Calls of those who proved who they are: what anybody can send would push them out of a log of bounded size. */
const audit = (
  { audit: log, read }: EndpointOptions,
  request: IncomingMessage,
  requestId: string,
  { caller, action, service, input }: Progress,
  outcome: { readonly output?: unknown; readonly error?: PandoError },
): void => {
  if (log === undefined || caller === undefined || action === undefined) return;
  log.add({
    ...{ requestId, atMs: read.now(), region: read.regionName, service, action, caller, input },
    readOnly: isReadOnly(action),
    sourceAddress: request.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '',
    userAgent: request.headers['user-agent'] ?? '',
    ...outcome,
  });
};

const isReadOnly = (action: string): boolean => isKnownAction(action) && isSafe(action);

/** Whether this replica can answer, for a load balancer and for the operator. It tells no secrets. */
const sendHealth = (parts: Parts, request: IncomingMessage, response: ServerResponse): void => {
  const ready = parts.cells.loaded;
  const cells = parts.cells.known.map(({ record, live }) => ({ cellId: record.cellId, live }));
  const body = JSON.stringify({ pid: process.pid, ready, region: parts.region.connected, cells });
  response.writeHead(ready ? 200 : 503, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    server: 'Pando',
  });
  response.end(request.method === 'HEAD' ? undefined : body);
};

const sendMethods = (request: IncomingMessage, response: ServerResponse): void => {
  const allow = 'GET, POST, OPTIONS';
  response.writeHead(request.method === 'OPTIONS' ? 204 : 405, {
    allow,
    server: 'Pando',
    ...(request.method !== 'OPTIONS' && { 'content-length': 0 }),
    ...(!request.complete && { connection: 'close' }),
  });
  response.end();
};

/** Bytes that are no HTTP, headers that are too long, clients that are too slow. */
const refuseBytes = (error: Error & { code?: string }, socket: Socket): void => {
  if (!socket.writable || socket.destroyed) {
    socket.destroy();
    return;
  }
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request';
  socket.end(`HTTP/1.1 ${status}\r\nserver: Pando\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`, () =>
    socket.destroy(),
  );
};
