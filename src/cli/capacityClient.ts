/** The command line's own client of `/capacity/v1/`. */
import { PandoError } from '#contracts/errors.ts';
import { UserError } from './output.ts';
import type { Region } from './region.ts';
import { signedHeaders } from './sign.ts';

const timeoutMs = 30_000;

export interface CapacityCall {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Below `/capacity/v1/`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

const encode = (text: string): string =>
  encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`,
  );

/** Calls an operation and gives its JSON. @throws UserError with the API's own words */
export async function callCapacity(region: Region, call: CapacityCall): Promise<unknown> {
  const { endpoint, credentials, run } = region;
  const query = Object.entries(call.query ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .join('&');
  const body = call.body === undefined ? '' : JSON.stringify(call.body);
  const path = `/capacity/v1/${call.path}`;
  const { host, origin } = new URL(endpoint);
  const target = { host, region: run.regionName, service: 'ec2' };
  const headers = signedHeaders(credentials, target, body, new Date(), {
    ...{ method: call.method, path, query, contentType: 'application/json' },
  });
  const response = await fetch(`${origin}${path}${query === '' ? '' : `?${query}`}`, {
    ...{ method: call.method, headers, signal: AbortSignal.timeout(timeoutMs) },
    ...(body === '' ? {} : { body }),
  }).catch((cause: unknown) => {
    throw new UserError(
      `The API at ${endpoint} does not answer. pando status shows what is away; pando up brings it back.`,
      { cause },
    );
  });
  const answer: unknown = await response.json().catch((cause: unknown) => {
    throw PandoError.from(cause);
  });
  if (response.ok) return answer;
  const { code, message, requestId } = answer as { code: string; message: string; requestId: string };
  throw new UserError(`${code}: ${message} (request ${requestId})`);
}
