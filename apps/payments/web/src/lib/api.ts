/** Calls of the server's API, typed by its contract. */
import type { AnswerOf, BodyInput, ErrorBody, ErrorCode } from './contract.ts';
import { type PathName, paths } from './paths.ts';

const answerMsMax = 15_000;

/** What the server refused. `message` is the server's sentence for people. */
export class ApiError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly retryAfterS: number | undefined;
  constructor(status: number, { code, message, retryAfterS }: ErrorBody['error']) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** No answer, or none that is the server's: what was asked for may have happened or not. */
export class NoAnswer extends Error {}

export interface CallOptions {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  /** `Idempotency-Key`. */
  readonly key?: string;
}

/** Errors: {@link ApiError}, {@link NoAnswer}. */
export async function call<Name extends PathName>(
  name: Name,
  body?: BodyInput<Name>,
  options: CallOptions = {},
): Promise<AnswerOf<Name>> {
  return (await send(name, JSON.stringify(body ?? {}), options)) as AnswerOf<Name>;
}

/** As {@link call}, with the body's bytes as they are: a retry sends the very same ones. */
export async function send(name: PathName, bodyText: string, options: CallOptions): Promise<unknown> {
  const [method = 'GET', path = ''] = paths[name].split(' ');
  const hasBody = method === 'POST' || method === 'PUT';
  const address = path.replace(/:(\w+)/g, (_, key: string) =>
    encodeURIComponent(options.params?.[key] ?? ''),
  );
  const query = options.query === undefined ? '' : `?${new URLSearchParams(options.query)}`;
  let response: Response;
  try {
    response = await fetch(`${address}${query}`, {
      method,
      headers: {
        ...(hasBody && { 'content-type': 'application/json' }),
        ...(options.key !== undefined && { 'idempotency-key': options.key }),
      },
      ...(hasBody && { body: bodyText }),
      signal: AbortSignal.timeout(answerMsMax),
    });
  } catch (error) {
    throw new NoAnswer('No answer: the network is away or too slow.', { cause: error });
  }
  const answer: unknown = await response.json().catch((error: unknown) => {
    throw new NoAnswer('The answer broke off.', { cause: error });
  });
  if (response.ok) return answer;
  if (isErrorBody(answer)) throw new ApiError(response.status, answer.error);
  throw new NoAnswer(`Something between this phone and the server answered ${response.status}.`);
}

const isErrorBody = (value: unknown): value is ErrorBody =>
  typeof value === 'object' &&
  value !== null &&
  'error' in value &&
  typeof value.error === 'object' &&
  value.error !== null &&
  'code' in value.error;
