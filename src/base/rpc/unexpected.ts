/**
 * What a handler threw that the other side is not told: it hears `InternalError` alone. Streams belong to no logger, so they
 * publish it, and the process's logger (`#base/log.ts`) listens.
 */
import { channel } from 'node:diagnostics_channel';

export interface UnexpectedError {
  readonly method: string;
  readonly peer: string;
  readonly requestId: string | undefined;
  readonly error: unknown;
}

export const unexpectedErrors = channel('pando.rpc.unexpected');
