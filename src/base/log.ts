/** Structured logs on standard output: one JSON line each, secrets redacted, followed by request id. */
import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

const redacted = [
  'secret',
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
export const createLogger = (name: string): Logger =>
  pino({
    name,
    level: process.env.PANDO_LOG ?? 'info',
    base: { name },
    redact: redacted,
    timestamp: pino.stdTimeFunctions.isoTime,
  });
