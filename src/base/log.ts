/** Structured logs on standard output: one JSON line each, secrets redacted, followed by request id. */
import { type DestinationStream, type Logger, pino } from 'pino';
import { alarms } from './alarms.ts';
import { standardOutput } from './logOutput.ts';
import { type ServedCall, servedCalls } from './rpc/served.ts';
import { type UnexpectedError, unexpectedErrors } from './rpc/unexpected.ts';
import { currentTrace, traceIdOf } from './trace.ts';

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

/** What each line says of the request that it was written for. */
const traceFields = (line: object): Readonly<Record<string, string>> => {
  if ('alarm' in line) alarms.publish(line.alarm);
  const trace = currentTrace();
  return trace === undefined ? {} : { requestId: trace.requestId, traceId: traceIdOf(trace) };
};

/** A logger whose lines name the request. `PANDO_LOG` sets the level (default info). */
export const loggerTo = (name: string, destination?: DestinationStream): Logger => {
  const options = {
    name,
    level: process.env.PANDO_LOG ?? 'info',
    base: { name },
    redact: redacted,
    timestamp: pino.stdTimeFunctions.isoTime,
    mixin: traceFields,
  };
  return destination === undefined ? pino(options) : pino(options, destination);
};

/** The process's logger. It also tells of the calls that this process has answered, where they were for a request. */
export const createLogger = (name: string, destination: DestinationStream = standardOutput()): Logger => {
  const log = loggerTo(name, destination);
  unexpectedErrors.subscribe((message) => {
    const { error, ...call } = message as UnexpectedError;
    log.error({ err: error, ...call }, 'a call failed in a way that was not foreseen');
  });
  const told = new Set<string>();
  servedCalls.subscribe((message) => logServed(log, message as ServedCall, told));
  return log;
};

/** Bounds what is remembered of requests: the oldest are forgotten first, and may then be told once more. */
const toldMax = 4_096;

/** Whether a request's calls of a method are new to `told`: an image comes in a thousand pieces, a migration is asked after without end. */
const isFirst = (told: Set<string>, method: string): boolean => {
  const key = `${currentTrace()?.requestId ?? ''} ${method}`;
  if (told.has(key)) return false;
  told.add(key);
  const [oldest] = told;
  if (told.size > toldMax && oldest !== undefined) told.delete(oldest);
  return true;
};

/** One line for each process that a request passes: without it a launch that goes well would leave no line on a host. */
export const logServed = (
  log: Logger,
  { requested, self: _self, ms, ...call }: ServedCall,
  told: Set<string>,
): void => {
  const shown = requested && (isFirst(told, call.method) || call.code !== undefined);
  log[shown ? 'info' : 'debug']({ ...call, ms: Math.round(ms * 10) / 10 }, 'call answered');
};
