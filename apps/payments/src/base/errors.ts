/** The application's one error: a code of the contract and a sentence that says what to do. */
import { type ErrorCode, errorStatus } from '../contract/codes.ts';

export class PaymentsError extends Error {
  readonly code: ErrorCode;
  /** With `rate_limited` and `busy`: when to come again. */
  readonly retryAfterS: number | undefined;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; retryAfterS?: number } = {}) {
    super(message, { cause: options.cause });
    this.name = 'PaymentsError';
    this.code = code;
    this.retryAfterS = options.retryAfterS;
  }

  get status(): number {
    return errorStatus[this.code];
  }
}

/** For branches that the types rule out. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`);
}
