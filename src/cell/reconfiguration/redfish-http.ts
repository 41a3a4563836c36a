/** HTTPS with a management controller: bounded, and with its own words where it refuses. Redirections are not followed. */
import { request } from 'node:https';
import { z } from 'zod';
import { PandoError } from '#contracts/errors.ts';

const requestTimeoutMs = 15_000;
const bodyBytesMax = 1024 * 1024;

export interface Answer {
  readonly status: number;
  /** Of JSON; undefined: none. */
  readonly body: unknown;
  /** Path on the same controller. */
  readonly location?: string | undefined;
  readonly token?: string | undefined;
  readonly retryAfterMs?: number | undefined;
}

export interface RedfishHttpOptions {
  readonly url: string;
  /** PEM; nobody else is believed. */
  readonly ca: string;
  readonly signal?: AbortSignal | undefined;
}

const errorShape = z.object({
  error: z.object({
    message: z.string().optional(),
    '@Message.ExtendedInfo': z.array(z.object({ Message: z.string().optional() })).optional(),
  }),
});

/** What the controller itself says of a refusal. */
const wordsOf = (body: unknown): string => {
  const { error } = errorShape.safeParse(body).data ?? {};
  const extended = error?.['@Message.ExtendedInfo']?.flatMap(({ Message }) => Message ?? []) ?? [];
  return [...extended, ...(extended.length === 0 ? [error?.message ?? ''] : [])].join(' ').slice(0, 500);
};

/** What is gone, busy or broken for now is asked again; what is refused is not. */
const refusal = (method: string, path: string, { status, body }: Answer): PandoError => {
  const words = `${method} ${path}: ${status} ${wordsOf(body)}`.trim();
  if (status === 401 || status === 403)
    return new PandoError('InternalError', `The controller does not let us in: ${words}`);
  const isPassing = status >= 500 || status === 429 || status === 408;
  return new PandoError(isPassing ? 'HostUnreachable' : 'InternalError', `The controller refuses: ${words}`);
};

export class RedfishHttp {
  readonly #options: RedfishHttpOptions;
  /** Secrets: they appear in no error. */
  authorization: string | undefined;
  token: string | undefined;

  constructor(options: RedfishHttpOptions) {
    this.#options = options;
  }

  get(path: string): Promise<Answer> {
    return this.#call('GET', path);
  }

  post(path: string, body: object): Promise<Answer> {
    return this.#call('POST', path, JSON.stringify(body));
  }

  delete(path: string): Promise<Answer> {
    return this.#call('DELETE', path);
  }

  /** @throws HostUnreachable, InternalError */
  async #call(method: string, path: string, body?: string): Promise<Answer> {
    const answer = await this.#exchange(method, path, body);
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw refusal(method, path, answer);
  }

  #exchange(method: string, path: string, body: string | undefined): Promise<Answer> {
    const { url, ca, signal } = this.#options;
    const target = new URL(path, url);
    // A path that leads elsewhere would be given our token.
    if (target.origin !== new URL(url).origin)
      throw new PandoError('InternalError', `The controller names ${target.origin}, which is not its own.`);
    const headers: Record<string, string> = { accept: 'application/json', 'odata-version': '4.0' };
    if (this.authorization !== undefined) headers.authorization = this.authorization;
    if (this.token !== undefined) headers['x-auth-token'] = this.token;
    if (body !== undefined) headers['content-type'] = 'application/json';
    const deadline = AbortSignal.timeout(requestTimeoutMs);
    return new Promise((resolve, reject) => {
      const failed = (cause: Error): void =>
        reject(new PandoError('HostUnreachable', `${method} ${path}: ${cause.message}`, { cause }));
      const sent = request(
        target,
        {
          method,
          ca,
          headers,
          signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
        },
        (response) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > bodyBytesMax) response.destroy(new Error('the answer is too long'));
            else chunks.push(chunk);
          });
          response.once('error', failed);
          response.once('end', () => {
            const { location, 'x-auth-token': token, 'retry-after': after } = response.headers;
            resolve({
              ...{ status: response.statusCode ?? 0, body: jsonOf(Buffer.concat(chunks)) },
              ...(location === undefined ? {} : { location: pathOf(location, url) }),
              ...(typeof token === 'string' ? { token } : {}),
              ...(after === undefined || !/^\d{1,4}$/.test(after)
                ? {}
                : { retryAfterMs: Number(after) * 1_000 }),
            });
          });
        },
      );
      sent.once('error', failed);
      sent.end(body);
    });
  }
}

/** Controllers name it with and without their own address. */
const pathOf = (location: string, url: string): string => {
  const target = URL.parse(location, url);
  return target?.origin === new URL(url).origin ? `${target.pathname}${target.search}` : location;
};

const jsonOf = (data: Buffer): unknown => {
  try {
    return JSON.parse(data.toString('utf8'));
  } catch {
    return undefined;
  }
};
