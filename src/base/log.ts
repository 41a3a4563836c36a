/** Structured logs on standard output: one JSON line each, secrets redacted, followed by request id. */
import { type Logger, pino } from 'pino';

import { type UnexpectedError, unexpectedErrors } from './rpc/unexpected.ts';

export type { Logger } from 'pino';

const redacted = [
  'secret',
  'signingKeys',
  'key',
  'tls',
  'userData',
  'token',
  '*.secret',
  '*.key',
  '*.userData',
  '*.token',
  '*.publicKey',
];

/** The process's logger. `PANDO_LOG` sets the level (default info). */
export const createLogger = (name: string): Logger => {
  const log = pino({
    name,
    level: process.env.PANDO_LOG ?? 'info',
    base: { name },
    redact: redacted,
    timestamp: pino.stdTimeFunctions.isoTime,
  });
  unexpectedErrors.subscribe((message) => {
    const { error, ...call } = message as UnexpectedError;
    log.error({ err: error, ...call }, 'a call failed in a way that was not foreseen');
  });
  return log;
};
