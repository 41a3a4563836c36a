import { type ErrorCode, errorCatalogue, type RetryClass } from './errorCatalogue.ts';

export {
  type ErrorCode,
  type ErrorTraits,
  errorCatalogue,
  isErrorCode,
  isInternalCode,
  type RetryClass,
} from './errorCatalogue.ts';

/** What may be told beside a code and a message. */
export interface PandoErrorOptions {
  /** The error that this one was made of: for logs, never for clients. */
  readonly cause?: unknown;
  /** Facts for programs, for example `{ pendingId }`. Clients may see them. */
  readonly details?: Readonly<Record<string, string>>;
}

/** Shown to a client in place of whatever broke inside. */
const internalErrorMessage = 'An internal error has occurred. Retry your request.';

/**
 * The one error class. `code` decides HTTP status and retryability by the catalogue; `message` is public;
 * `cause` is not.
 */
export class PandoError extends Error {
  override readonly name = 'PandoError';
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, string>> | undefined;

  constructor(code: ErrorCode, message: string, options: PandoErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details;
  }

  /** The HTTP status that this error travels with. */
  get status(): number {
    return errorCatalogue[this.code].status;
  }

  /** Whether the same request may succeed if it is sent again. */
  get retryable(): boolean {
    return errorCatalogue[this.code].retryable;
  }

  /** How Pando's own parts retry it. */
  get class(): RetryClass {
    return errorCatalogue[this.code].class;
  }

  /**
   * Anything that was thrown, as a `PandoError`: itself if it is one, else `InternalError` with a fixed
   * message, so that the words of an inner error never reach a client.
   */
  static from(thrown: unknown): PandoError {
    if (thrown instanceof PandoError) return thrown;
    return new PandoError('InternalError', internalErrorMessage, { cause: thrown });
  }
}

/** A `PandoError` as a client of the EC2 interface sees it. */
export function ec2Error(code: ErrorCode, message: string, options?: PandoErrorOptions): PandoError {
  return new PandoError(code, message, options);
}
