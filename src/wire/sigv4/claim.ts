import { PandoError } from '#contracts/errors.ts';
import { wireLimits } from '../limits.ts';
import { headerValues, parseQuery, type SignedRequest } from './canonical.ts';

/** What a request says of its own signature; nothing of it is proved. */
export interface SignatureClaim {
  readonly accessKeyId: string;
  /** The scope's day, `YYYYMMDD`. */
  readonly day: string;
  readonly region: string;
  readonly service: string;
  readonly terminator: string;
  /** The time of signing, `YYYYMMDDTHHMMSSZ`. */
  readonly signedAt: string;
  /** Presigned requests alone: for how long after `signedAt` they hold. */
  readonly expiresSeconds: number | undefined;
  readonly signedHeaders: readonly string[];
  /** 64 hexadecimal digits. */
  readonly signature: string;
  readonly sessionToken: string | undefined;
  /** The query's parameters that the signature covers. */
  readonly parameters: readonly (readonly [name: string, value: string])[];
}

const algorithm = 'AWS4-HMAC-SHA256';

/**
 * Finds the signature in the `Authorization` header or in the query.
 *
 * @throws `MissingAuthenticationToken` if there is none, `IncompleteSignature` if it cannot be read.
 */
export function readClaim(request: SignedRequest): SignatureClaim {
  const parameters = parseQuery(request.query);
  const presigned = parameters.some(([name]) => name === 'X-Amz-Signature' || name === 'X-Amz-Algorithm');
  const [authorization, ...more] = headerValues(request.headers, 'authorization');
  if (more.length > 0 || (presigned && authorization !== undefined)) {
    throw incomplete('The request carries more than one signature.');
  }
  if (presigned) return queryClaim(parameters);
  if (authorization === undefined) {
    throw new PandoError('MissingAuthenticationToken', 'Request is missing Authentication Token');
  }
  return headerClaim(request, authorization, parameters);
}

function headerClaim(
  request: SignedRequest,
  authorization: string,
  parameters: SignatureClaim['parameters'],
): SignatureClaim {
  const fields = authorizationFields(authorization);
  return {
    ...readScope(required(fields, 'Credential')),
    signedAt: signingTime(request),
    expiresSeconds: undefined,
    signedHeaders: readSignedHeaders(required(fields, 'SignedHeaders')),
    signature: readSignature(required(fields, 'Signature')),
    sessionToken: single(headerValues(request.headers, 'x-amz-security-token'), 'X-Amz-Security-Token'),
    parameters,
  };
}

function authorizationFields(authorization: string): ReadonlyMap<string, string> {
  const [scheme = '', ...rest] = authorization.slice(0, wireLimits.authorizationCharsMax).trim().split(/\s+/);
  if (scheme !== algorithm) throw incomplete(`The signature's algorithm must be ${algorithm}.`);
  const fields = new Map<string, string>();
  for (const part of rest.join('').split(',')) {
    const [name = '', ...value] = part.split('=');
    if (fields.has(name))
      throw incomplete(`The Authorization header has more than one '${name.slice(0, 64)}'.`);
    fields.set(name, value.join('='));
  }
  return fields;
}

function queryClaim(all: SignatureClaim['parameters']): SignatureClaim {
  const fields = new Map<string, string>();
  for (const [name, value] of all.filter(([name]) => name.startsWith('X-Amz-'))) {
    if (fields.has(name)) throw incomplete(`The query has more than one '${name.slice(0, 64)}'.`);
    fields.set(name, value);
  }
  if (fields.get('X-Amz-Algorithm') !== algorithm)
    throw incomplete(`The signature's algorithm must be ${algorithm}.`);
  return {
    ...readScope(required(fields, 'X-Amz-Credential')),
    signedAt: required(fields, 'X-Amz-Date'),
    expiresSeconds: readExpiry(required(fields, 'X-Amz-Expires')),
    signedHeaders: readSignedHeaders(required(fields, 'X-Amz-SignedHeaders')),
    signature: readSignature(required(fields, 'X-Amz-Signature')),
    sessionToken: fields.get('X-Amz-Security-Token'),
    parameters: all.filter(([name]) => name !== 'X-Amz-Signature'),
  };
}

function readScope(
  credential: string,
): Pick<SignatureClaim, 'accessKeyId' | 'day' | 'region' | 'service' | 'terminator'> {
  const [accessKeyId, day, region, service, terminator, ...rest] = credential.split('/');
  if (!accessKeyId || !day || !region || !service || !terminator || rest.length > 0) {
    throw incomplete("The Credential must have the form 'key/YYYYMMDD/region/service/aws4_request'.");
  }
  return { accessKeyId, day, region, service, terminator };
}

function readSignedHeaders(text: string): readonly string[] {
  const names = text.split(';');
  const wellFormed = names.every(
    (name, i) => /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) && (i === 0 || name > (names[i - 1] ?? '')),
  );
  if (!wellFormed)
    throw incomplete('SignedHeaders must be lower-case names in order, separated by semicolons.');
  return names;
}

function readSignature(text: string): string {
  if (!/^[0-9a-f]{64}$/.test(text)) throw incomplete('The Signature must have 64 hexadecimal digits.');
  return text;
}

function readExpiry(text: string): number {
  const seconds = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (seconds < 1 || seconds > wireLimits.presignedSecondsMax) {
    throw incomplete(`X-Amz-Expires must be from 1 to ${wireLimits.presignedSecondsMax} seconds.`);
  }
  return seconds;
}

/** `X-Amz-Date`, else `Date`, in the form in which the former is written. */
function signingTime(request: SignedRequest): string {
  const amzDate = single(headerValues(request.headers, 'x-amz-date'), 'X-Amz-Date');
  if (amzDate !== undefined) return amzDate.trim();
  const time = Date.parse(single(headerValues(request.headers, 'date'), 'Date') ?? '');
  if (Number.isNaN(time)) throw incomplete("The request must have a valid 'X-Amz-Date' or 'Date' header.");
  return basicTime(time);
}

/** Milliseconds since 1970 as `YYYYMMDDTHHMMSSZ`. */
export function basicTime(timeMs: number): string {
  return new Date(timeMs).toISOString().replaceAll(/[-:]|\.\d{3}/g, '');
}

/** The reverse of {@link basicTime}; NaN if the text is no such time. */
export function parseBasicTime(text: string): number {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (match === null) return Number.NaN;
  const [, year, month, day, hour, minute, second] = match;
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

function single(values: readonly string[], name: string): string | undefined {
  if (values.length > 1) throw incomplete(`The request has more than one '${name}' header.`);
  return values[0];
}

function required(fields: ReadonlyMap<string, string>, name: string): string {
  const value = fields.get(name);
  if (value === undefined || value === '') throw incomplete(`The signature requires '${name}'.`);
  return value;
}

/** A signature that cannot be read. */
export function incomplete(message: string): PandoError {
  return new PandoError('IncompleteSignature', message);
}
