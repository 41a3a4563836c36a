/** The HTTP server: routes of the contract on Fastify, sessions, limits, idempotency, errors, the pages' files. */
import { existsSync } from 'node:fs';
import fastifyStatic from '@fastify/static';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { App, Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { bodyBytesMax } from '../contract/limits.ts';
import { type ErrorBody, eventsPath, type Route, type RouteName, routes } from '../contract/routes.ts';
import { signedBytes } from '../contract/signing.ts';
import type { DemoWorld } from '../demo/demo.ts';
import { streamEvents } from '../events/stream.ts';
import { checkKey } from '../ledger/idempotency.ts';
import { type KnownDevice, type SignerRow, signerOf } from '../people/devices.ts';
import type { RelyingParty } from '../people/passkeys.ts';
import { beginSession, endSession, operatorSessionMs, sessionMs } from '../people/sessions.ts';
import { isConnectionLoss, isOverloaded } from '../store/transaction.ts';
import { inUnit, onceInUnit } from '../unit.ts';
import { Admission, type Admitted, type Remembered } from './admission.ts';
import { type Call, handlers, isSigned, type SignedIn } from './handlers.ts';
import {
  checkOrigin,
  cookieOf,
  operatorCookie,
  securityHeaders,
  sessionCookie,
  setCookie,
} from './security.ts';

const requestTimeoutMs = 20_000;

export interface ServerOptions {
  readonly app: App;
  readonly rp: RelyingParty;
  readonly operatorToken: string;
  readonly demo?: DemoWorld;
  /** Folder of the built pages; absent or missing: no pages. */
  readonly pages?: string;
  /** Requests a second of an account. Default: the contract's. */
  readonly accountRequestsPerS?: number;
}

export async function makeServer(options: ServerOptions): Promise<FastifyInstance> {
  const { app } = options;
  const server = Fastify({
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: 30_000,
    genReqId: () => newId('req', app.clock()),
    // Slow or dead clients must not hold the end up.
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 64 },
  });
  const admission = new Admission(app, options.accountRequestsPerS);
  server.addHook('onRequest', async (request, reply) => {
    reply.headers({ ...securityHeaders, 'x-request-id': request.id });
    if (request.url.startsWith('/v1/')) reply.header('cache-control', 'no-store');
    checkOrigin(request, options.rp.origin);
  });
  server.setErrorHandler((error, request, reply) => answerError(app, error, request, reply));
  for (const name of Object.keys(routes) as RouteName[]) {
    const route: Route = routes[name];
    if (route.auth === 'demo' && options.demo === undefined) continue;
    server.route({
      method: route.method,
      url: route.path,
      handler: (request, reply) => handle(options, admission, name, request, reply),
    });
  }
  server.get(eventsPath, async (request, reply) => {
    const { personId } = await admission.person(request);
    return streamEvents(app, personId, request, reply);
  });
  await servePages(server, options.pages);
  return server;
}

async function handle(
  options: ServerOptions,
  admission: Admission,
  name: RouteName,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const route: Route = routes[name];
  const known = 'begin' in handlers[name] ? admission.recall(request) : undefined;
  if (known !== undefined)
    try {
      return await serve(options, name, route, known, request, reply);
    } catch (error) {
      // Whatever failed before somebody was let in is no answer to anybody.
      if (known.isLetIn) throw error;
    }
  return serve(options, name, route, await admission.admit(route, request), request, reply);
}

async function serve(
  options: ServerOptions,
  name: RouteName,
  route: Route,
  who: Admitted | Remembered,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  let signedIn: SignedIn | undefined;
  const call = {
    app: options.app,
    rp: options.rp,
    operatorToken: options.operatorToken,
    demo: options.demo,
    personId: who.personId,
    params: parse(route.params, request.params),
    query: parse(route.query, request.query),
    body: parse(route.body, request.body),
    signedIn: (who: SignedIn): void => {
      signedIn = who;
    },
  };
  const answer = await dispatch(options, name, route, call, who, request, reply);
  if (signedIn !== undefined) await applySession(options, signedIn, request, reply);
  return reply.send(answer);
}

/** The table of handlers is typed by route; here every route is the same, and what it is given was parsed by its own schemas. */
interface AnyCall extends Omit<Call<'about'>, 'params' | 'query' | 'body'> {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}
type AnyHandler =
  | ((unit: Unit, call: AnyCall, device: unknown) => Promise<unknown>)
  | { begin(unit: Unit, call: AnyCall, device: unknown): (unit: Unit) => Promise<unknown> }
  | { alone(call: AnyCall, device: unknown): Promise<unknown> };

async function dispatch(
  options: ServerOptions,
  name: RouteName,
  route: Route,
  call: AnyCall,
  who: Admitted | Remembered,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const { app } = options;
  const handler = handlers[name] as unknown as AnyHandler;
  const isOnce = route.idempotent === true;
  // The signature covers what was sent: parsing fills defaults in. It is the same request where its payload is: a signature may
  // differ, since ECDSA's are random.
  const bytes = isOnce || isSigned(name) ? signedBytes(contentOf(request.body)) : undefined;
  const device = bytes && isSigned(name) ? deviceOf(call, who.device, bytes) : undefined;
  if ('alone' in handler) return handler.alone(call, device);
  if (bytes === undefined || !isOnce) {
    if ('begin' in handler) throw new Error(`${name} begins before its key is claimed, and has none`);
    return inUnit(app, (unit) => handler(unit, call, device));
  }
  const key = checkKey(request.headers['idempotency-key']);
  const what = {
    personId: call.personId,
    key,
    request: `${name}\n${JSON.stringify(call.params)}\n${Buffer.from(bytes).toString()}`,
    ...('letIn' in who && { letIn: who.letIn }),
  };
  const result = await onceInUnit(
    app,
    what,
    'begin' in handler
      ? { begin: (unit) => handler.begin(unit, call, device) }
      : (unit) => handler(unit, call, device),
  );
  if (result.replayed) reply.header('idempotent-replayed', 'true');
  if ('error' in result.outcome)
    throw new PaymentsError(result.outcome.error.code, result.outcome.error.message);
  return result.outcome.answer;
}

const contentOf = (body: unknown): unknown =>
  typeof body === 'object' && body !== null && 'payload' in body ? body.payload : body;

/** The body of a signed route was parsed: it has a signature. */
const deviceOf = (call: AnyCall, signer: SignerRow | undefined, bytes: Uint8Array): KnownDevice =>
  signerOf(call.personId, signer, bytes, (call.body as { signature: string }).signature);

async function applySession(
  options: ServerOptions,
  who: SignedIn,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const isSecure = options.rp.origin.startsWith('https:');
  if ('out' in who) {
    const token = cookieOf(request, sessionCookie);
    if (token !== undefined) await inUnit(options.app, (unit) => endSession(unit, token));
    return setCookie(reply, sessionCookie, '', isSecure, 0);
  }
  const isOperator = 'operator' in who;
  const token = await inUnit(options.app, (unit) =>
    beginSession(unit, isOperator ? { kind: 'operator' } : { kind: 'person', personId: who.personId }),
  );
  const forMs = isOperator ? operatorSessionMs : sessionMs;
  setCookie(reply, isOperator ? operatorCookie : sessionCookie, token, isSecure, forMs / 1000);
}

const nothing = z.looseObject({});

function parse(schema: z.ZodType | undefined, value: unknown): unknown {
  if (schema === undefined) return undefined;
  const parsed = schema.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const at = issue?.path.join('.') ?? '';
  // What a number's text is too large or too small for has a code of its own: clients show it beside the field.
  const isAmount = at.toLowerCase().includes('minor') && nothing.safeParse(value).success;
  throw new PaymentsError(
    isAmount ? 'amount_out_of_range' : 'invalid_request',
    `${at === '' ? 'The request' : at}: ${issue?.message ?? 'is not valid'}`,
  );
}

function answerError(app: App, error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = asPaymentsError(error);
  const fields = {
    requestId: request.id,
    method: request.method,
    path: request.routeOptions.url,
    code: known.code,
  };
  if (known.status >= 500 && known.code !== 'busy')
    app.log.error({ ...fields, error: textOf(error) }, 'request failed');
  else app.log.info(fields, 'request refused');
  const body: ErrorBody = {
    error: {
      code: known.code,
      message: known.message,
      requestId: request.id,
      ...(known.retryAfterS !== undefined && { retryAfterS: known.retryAfterS }),
    },
  };
  if (known.retryAfterS !== undefined) reply.header('retry-after', known.retryAfterS);
  return reply.status(known.status).send(body);
}

const textOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);

function asPaymentsError(error: unknown): PaymentsError {
  if (error instanceof PaymentsError) return error;
  if (isConnectionLoss(error))
    return new PaymentsError('busy', 'The store is away for a moment. Try again with the same key.', {
      cause: error,
      retryAfterS: 1,
    });
  if (isOverloaded(error))
    return new PaymentsError('busy', 'The store has no room just now. Try again with the same key.', {
      cause: error,
      retryAfterS: 1,
    });
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
  if (status === 413)
    return new PaymentsError('body_too_large', `A request’s body has at most ${bodyBytesMax} bytes.`, {
      cause: error,
    });
  if (typeof status === 'number' && status >= 400 && status < 500)
    return new PaymentsError('invalid_request', 'The request is not JSON with its content-type.', {
      cause: error,
    });
  return new PaymentsError('internal', 'Something failed here. The request id finds it in the log.', {
    cause: error,
  });
}

async function servePages(server: FastifyInstance, folder: string | undefined): Promise<void> {
  const hasPages = folder !== undefined && existsSync(folder);
  if (hasPages)
    await server.register(fastifyStatic, { root: folder, cacheControl: true, maxAge: 0, etag: true });
  server.setNotFoundHandler((request, reply) => {
    if (hasPages && request.method === 'GET' && !request.url.startsWith('/v1/'))
      return reply.sendFile('index.html');
    throw new PaymentsError('not_found', 'There is nothing at this address.');
  });
}
