import { hash } from 'node:crypto';
import { PandoError } from '#contracts/errors.ts';

/** Header values by lower-case name. Give `IncomingMessage.headersDistinct`, which hides no repeated header. */
export type SignedHeaderSource = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What a signature covers, as it came over the wire. */
export interface SignedRequest {
  readonly method: string;
  /** The path before the `?`, still percent-encoded. */
  readonly path: string;
  /** The query after the `?`, still percent-encoded; may be empty. */
  readonly query: string;
  readonly headers: SignedHeaderSource;
  /** The body, or its SHA-256 in hexadecimal where the bytes have been hashed while they came in. */
  readonly body: Uint8Array | { readonly sha256: string };
}

/** SHA-256 in hexadecimal. */
export function sha256Hex(data: string | Uint8Array): string {
  return hash('sha256', data);
}

/** All values of a header, in order. */
export function headerValues(headers: SignedHeaderSource, name: string): readonly string[] {
  const value = headers[name];
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}

/** The query's parameters, decoded, in order. */
export function parseQuery(query: string): readonly (readonly [name: string, value: string])[] {
  return query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const equals = pair.indexOf('=');
      if (equals === -1) return [decode(pair), ''];
      return [decode(pair.slice(0, equals)), decode(pair.slice(equals + 1))];
    });
}

/** The text whose hash is signed. */
export function canonicalRequest(
  request: SignedRequest,
  parameters: readonly (readonly [string, string])[],
  signedHeaders: readonly string[],
  payloadHash: string,
): string {
  const headers = signedHeaders.map(
    (name) => `${name}:${canonicalHeader(headerValues(request.headers, name))}\n`,
  );
  return [
    request.method.toUpperCase(),
    canonicalPath(request.path),
    canonicalQuery(parameters),
    headers.join(''),
    signedHeaders.join(';'),
    payloadHash,
  ].join('\n');
}

/**
 * Every service but S3 signs the path with empty and dot segments removed, encoded once more over the encoding
 * that it has on the wire.
 */
function canonicalPath(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(encode(segment));
  }
  const tail = path.endsWith('/') && segments.length > 0 ? '/' : '';
  return `/${segments.join('/')}${tail}`;
}

function canonicalQuery(parameters: readonly (readonly [string, string])[]): string {
  return parameters
    .map(([name, value]): [string, string] => [encode(name), encode(value)])
    .sort(([nameA, valueA], [nameB, valueB]) => compare(nameA, nameB) || compare(valueA, valueB))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

function canonicalHeader(values: readonly string[]): string {
  return values.map((value) => value.trim().replaceAll(/\s+/g, ' ')).join(',');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch (cause) {
    throw new PandoError('MalformedQueryString', 'The query has a percent escape that is not UTF-8 text.', {
      cause,
    });
  }
}
