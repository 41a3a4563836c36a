/** From bytes to an authenticated, decoded request. */
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { PandoError } from '#contracts/errors.ts';
import { isKnownAction, serviceOf } from '#wire/actions.ts';
import { decodeFormInSlices } from '#wire/decode.ts';
import { parseForm, parseFormInSlices } from '#wire/form.ts';
import type { Service } from '#wire/schema.ts';
import { atOnce } from '#wire/slices.ts';
import { toTransportInSlices } from '#wire/transport.ts';
import type { KnownAction } from '#wire/types.ts';
import { isSafe, routeOf } from '../actions.ts';
import type { AuditedCall } from '../audit/record.ts';
import { notBuilt } from '../dispatch.ts';
import type { KeyCache } from '../keyCache.ts';
import type { AccessKey } from '../regionLink.ts';
import { type RegionNames, regionNames } from '../regionNames.ts';
import type { Call } from '../request.ts';
import type { Admission } from './admission.ts';
import { authenticate } from './authenticate.ts';
import { inSlices, type LargeBodies } from './largeBodies.ts';
import { launchHeaders } from './launchHeaders.ts';
import { readBody } from './readBody.ts';
import type { Sources } from './sources.ts';

export interface ReadOptions {
  readonly keys: KeyCache;
  readonly regionName: string;
  /** Requests may be signed for any region. Default: for `regionName` alone. */
  readonly anyRegion?: boolean;
  readonly bodyBytesMax: number;
  readonly now: () => number;
  readonly admission: Admission;
  readonly large: LargeBodies;
  readonly sources: Sources;
}

/** What is known of a request, filled in as it is read, so that an error can be answered and logged in its terms. */
export interface Progress {
  service: Service;
  action?: string;
  accountId?: string;
  /** Who signed it. */
  caller?: AuditedCall['caller'];
  input?: unknown;
}

export interface ReadResult {
  readonly call: Call;
  /** Where the request was signed for another region: how the answer is put into its terms. */
  readonly names: RegionNames | undefined;
  /** The API version to answer in. */
  readonly version: string;
}

/**
 * `reserved` collects what the request takes of the router's limits, for its caller to give back.
 *
 * @throws every error of the wire: what is too long, not signed, not known or not well-formed; `RequestLimitExceeded`.
 */
export const readRequest = async (
  request: IncomingMessage,
  requestId: string,
  options: ReadOptions,
  progress: Progress,
  reserved: DisposableStack,
): Promise<ReadResult> => {
  const { path, query } = splitTarget(request.url ?? '/');
  if (path !== '/') throw new PandoError('MalformedQueryString', 'Requests are served at the path / alone.');
  const { admission, large } = options;
  const isLarge = large.isLarge(request.headers);
  reserved.defer(isLarge ? large.enterSource(request.socket.remoteAddress) : large.enterSmall());
  const body = await readBody(request, options, reserved);
  reserved.defer(admission.enter());
  const signature = await authenticate(request, { path, query, body }, options, progress, reserved);
  const { accountId, arn, userId } = signature.key;
  progress.service = signature.service === 'sts' ? 'sts' : 'ec2';
  if (isLarge) reserved.defer(await large.enterAccount(accountId));
  checkForm(request, body.bytes);
  const inTurn = <T>(work: Generator<undefined, T>) => (isLarge ? inSlices(work, large) : atOnce(work));
  checkAction(await inTurn(findAction(query, body.bytes)), progress);
  const form = isLarge
    ? await inTurn(parseFormInSlices(query, body.bytes))
    : parseForm(joined(query, body.bytes));
  const { action, version, input } = await inTurn(decodeFormInSlices(form));
  const attempt = attemptIn(request.headers['amz-sdk-request']);
  checkAllowed(signature.key, progress.service, action);
  const caller = { accountId, arn, userId, accessKeyId: signature.accessKeyId };
  const names = regionNames(options.regionName, signature.region);
  const asked = await inTurn(toTransportInSlices(action, input));
  const sent = names?.inward(asked) ?? asked;
  progress.input = sent;
  const own = action === 'RunInstances' ? launchHeaders(request.headers) : {};
  return { version, names, call: { requestId, action, input: sent, caller, attempt, ...own } };
};

export const splitTarget = (target: string): { path: string; query: string } => {
  const mark = target.indexOf('?');
  return mark < 0
    ? { path: target, query: '' }
    : { path: target.slice(0, mark), query: target.slice(mark + 1) };
};

/** Said only to those who signed: nobody else learns what is understood here. */
const checkForm = (request: IncomingMessage, body: Buffer): void => {
  if (body.length === 0) return;
  if (request.method === 'GET') throw new PandoError('InvalidRequest', 'A GET request has no body.');
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded')
    throw new PandoError('UnsupportedProtocol', 'The body must be application/x-www-form-urlencoded.');
  if (request.headers['content-encoding'] !== undefined)
    throw new PandoError('UnsupportedProtocol', 'The body must have no content encoding.');
  if (!isUtf8(body)) throw new PandoError('MalformedQueryString', 'The body is not UTF-8 text.');
};

/**
 * The action must be one of the signed service, and built: said before its parameters are looked at, so that
 * nobody corrects the parameters of something that does not exist.
 */
const checkAction = (action: string | undefined, progress: Progress): void => {
  if (action === undefined) return;
  progress.action = action;
  if (!isKnownAction(action) || serviceOf(action) !== progress.service)
    throw new PandoError('InvalidAction', `The action ${action} is not valid for this web service.`);
  if (routeOf(action) === undefined) throw notBuilt();
};

const actionName = 'Action=';
const actionCharsMax = 128;

/** What is searched in one slice: ampersands without end make the search as slow as reading. */
const searchSliceBytes = 64 * 1024;

function* findAction(query: string, body: Buffer): Generator<undefined, string | undefined> {
  return (yield* actionIn(Buffer.from(query))) ?? (yield* actionIn(body));
}

/** Looked for as bytes: the form is not text yet. */
function* actionIn(form: Buffer): Generator<undefined, string | undefined> {
  if (form.subarray(0, actionName.length).equals(Buffer.from(actionName)))
    return nameAt(form, actionName.length);
  const searched = `&${actionName}`;
  for (let from = 0; from < form.length; from += searchSliceBytes) {
    if (from > 0) yield;
    // It may lie across the end of a slice.
    const at = form.subarray(from, from + searchSliceBytes + searched.length - 1).indexOf(searched);
    if (at !== -1) return nameAt(form, from + at + searched.length);
  }
  return undefined;
}

const nameAt = (form: Buffer, from: number): string | undefined =>
  /^([A-Za-z0-9]+)(?:&|$)/.exec(form.toString('latin1', from, from + actionCharsMax + 1))?.[1];

const joined = (query: string, body: Buffer): string =>
  body.length === 0 ? query : query === '' ? body.toString() : `${query}&${body.toString()}`;

/** What a profile of an instance lets it do: with `read-only` what tells and changes nothing. */
export const checkAllowed = (
  { policy, arn }: Pick<AccessKey, 'policy' | 'arn'>,
  service: Service,
  action: KnownAction,
): void => {
  if (policy !== 'read-only' || isSafe(action)) return;
  throw new PandoError(
    'UnauthorizedOperation',
    `You are not authorized to perform this operation. User: ${arn} is not authorized to perform: ${service}:${action} because no identity-based policy allows the ${service}:${action} action`,
  );
};

/** `attempt=2; max=3`: SDKs count their attempts there. */
const attemptIn = (header: string | readonly string[] | undefined): number =>
  Number(/(?:^|[;\s])attempt=([1-9]\d{0,3})/.exec(String(header ?? ''))?.[1] ?? 1);
