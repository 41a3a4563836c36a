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
  // PostgreSQL's, of a row that a constraint refuses: the row's own columns, user data and keys among them.
  'err.detail',
  'err.where',
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
  const told = new ToldCalls();
  // Of a call nothing is said that could be a secret, and a busy process writes a line for each.
  const calls = log.child({}, { redact: [] });
  servedCalls.subscribe((message) => logServed(calls, message as ServedCall, told));
  return log;
};

/** Bounds what is remembered of requests: the older half is forgotten at once, and may then be told once more. */
const toldMax = 4_096;

/** Which requests' calls were told of, by method: an image comes in a thousand pieces, a migration is asked after without end. */
export class ToldCalls {
  #younger = new Set<string>();
  #older = new Set<string>();

  get size(): number {
    return this.#younger.size + this.#older.size;
  }

  /** Whether the present request's calls of this method are new here. */
  isFirst(method: string): boolean {
    const key = `${currentTrace()?.requestId ?? ''} ${method}`;
    if (this.#younger.has(key) || this.#older.has(key)) return false;
    if (this.#younger.size >= toldMax / 2) {
      this.#older = this.#younger;
      this.#younger = new Set();
    }
    this.#younger.add(key);
    return true;
  }
}

/** One line for each process that a request passes: without it a launch that goes well would leave no line on a host. */
export const logServed = (
  log: Logger,
  { requested, self: _self, ms, ...call }: ServedCall,
  told: ToldCalls,
): void => {
  const shown = requested && (told.isFirst(call.method) || call.code !== undefined);
  log[shown ? 'info' : 'debug']({ ...call, ms: Math.round(ms * 10) / 10 }, 'call answered');
};
