/**
 * `/rollout/v1/` over HTTP and JSON, for operators. The router checks no signature here: it passes the request on as it came, and the region
 * answers only what an operator has signed. Its description is `GET /rollout/v1/openapi.json`, for everybody.
 */
import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { monotonicMs } from '#base/monotonic.ts';
import { traceOf, withTrace } from '#base/trace.ts';
import { PandoError } from '#contracts/errors.ts';
import { rolloutHttpLimits, rolloutHttpPath } from '#contracts/rollout-http.ts';
import { readBody } from '../http/readBody.ts';
import { splitTarget } from '../http/readRequest.ts';
import { shownError } from '../http/respond.ts';
import { sendJson } from '../http/sendJson.ts';
import type { EndpointOptions } from '../http/server.ts';
import { shownMessage } from '../http/shownMessage.ts';
import type { RolloutHttpAnswer, RolloutHttpRequest } from '../regionLink.ts';
import { ask } from './ask.ts';
import { rolloutApiDocument } from './openapi.ts';
import { streamRollout } from './stream.ts';

/** Operators are few: whatever comes here takes nothing of the EC2 API's places. */
const inFlightMax = 32;
let inFlight = 0;

export const serveRollout = (
  options: EndpointOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  const requestId = randomUUID();
  if (request.url === `${rolloutHttpPath}openapi.json` && request.method === 'GET') {
    sendJson(response, 200, requestId, rolloutApiDocument());
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
  let asked: RolloutHttpRequest | undefined;
  let answered: RolloutHttpAnswer | undefined;
  const log = (facts: Readonly<Record<string, unknown>>): void => {
    const ms = Math.round((monotonicMs() - startedMs) * 10) / 10;
    const { operator, operationId } = answered ?? {};
    options.log.info({ requestId, operator, action: operationId, ms, ...facts });
  };
  try {
    using reserved = new DisposableStack();
    asked = await read(options, request, requestId, reserved);
    answered = await ask(options, request, asked);
    if (isStream(request, answered)) await streamRollout(options, request, response, asked, answered);
    else sendJson(response, answered.status, requestId, JSON.stringify(answered.body));
    log({ status: answered.status });
    audit(options, request, asked, answered);
  } catch (thrown) {
    const error = shownError(thrown);
    const { code, message, details, status } = error;
    if (!request.complete) response.setHeader('connection', 'close');
    if (!response.headersSent)
      sendJson(response, status, requestId, JSON.stringify({ code, message, requestId, details }));
    log({ status, code, ...(status >= 500 && { cause: shownMessage(thrown) }) });
  }
};

const read = async (
  { read: options }: EndpointOptions,
  request: IncomingMessage,
  requestId: string,
  reserved: DisposableStack,
): Promise<RolloutHttpRequest> => {
  const { path, query } = splitTarget(request.url ?? '/');
  const { bodyBytesMax, headersMax, pathCharsMax, queryCharsMax } = rolloutHttpLimits;
  const headers = Object.entries(request.headersDistinct).flatMap(([name, values]): [string, string[]][] =>
    values === undefined ? [] : [[name, values]],
  );
  if (path.length > pathCharsMax || query.length > queryCharsMax || headers.length > headersMax)
    throw new PandoError('InvalidRequest', 'The request’s path, query or headers are too long.');
  // Whoever guesses is stopped before the region is asked.
  options.sources.check(request.socket.remoteAddress);
  const limits = { ...options, bodyBytesMax: Math.min(options.bodyBytesMax, bodyBytesMax) };
  const body = await readBody(request, limits, reserved);
  if (!isUtf8(body.bytes)) throw new PandoError('InvalidRequest', 'The body is not UTF-8 text.');
  if (inFlight >= inFlightMax) throw new PandoError('RequestLimitExceeded', 'Request limit exceeded.');
  inFlight += 1;
  reserved.defer(() => {
    inFlight -= 1;
  });
  const method = (request.method ?? '').slice(0, 16);
  return {
    requestId,
    method,
    path,
    query,
    headers: Object.fromEntries(headers),
    body: body.bytes.toString(),
  };
};

const isStream = (request: IncomingMessage, { operationId, status }: RolloutHttpAnswer): boolean =>
  operationId === 'showRollout' &&
  status === 200 &&
  /\btext\/event-stream\b/.test(request.headers.accept ?? '');

/** Of requests that an operator has signed. */
const audit = (
  { audit: log, read: options }: EndpointOptions,
  request: IncomingMessage,
  { requestId, method, path, query, body }: RolloutHttpRequest,
  { operator, accessKeyId, operationId, status, body: output }: RolloutHttpAnswer,
): void => {
  if (operator === undefined || accessKeyId === undefined) return;
  const arn = `spiffe://pando/operator/-/${operator}`;
  log?.add({
    ...{ requestId, atMs: options.now(), region: options.regionName, service: 'ec2' },
    caller: { accountId: 'operator', arn, userId: operator, accessKeyId },
    action: operationId ?? `${method} ${path}`.slice(0, 128),
    readOnly: method === 'GET',
    input: { path, query: Object.fromEntries(new URLSearchParams(query)), body: body.slice(0, 4_096) },
    sourceAddress: request.socket.remoteAddress?.replace(/^::ffff:/, '') ?? '',
    userAgent: request.headers['user-agent'] ?? '',
    ...(status < 400 ? {} : { error: errorOf(output) }),
  });
};

const errorOf = (body: unknown): { code: string; message: string } => ({
  code: String(Reflect.get(Object(body), 'code')),
  message: String(Reflect.get(Object(body), 'message')),
});
