/**
 * What a piece of work is done for: the request's id, and its place in a W3C trace (https://www.w3.org/TR/trace-context/). Carried by
 * AsyncLocalStorage within a process, by the call's frame between processes, and by a workflow's row over restarts.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';

export interface Trace {
  /** As clients see it in answers, and as `pando logs --request` takes it. */
  readonly requestId: string;
  /** `00-<trace id, 32 hex>-<span id, 16 hex>-<flags, 2 hex>` */
  readonly traceparent: string;
}

/** A longer id than this is cut: it is in every line of the log. */
const requestIdCharsMax = 128;
const form = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
const notRecorded = '00';
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const storage = new AsyncLocalStorage<Trace | undefined>();

/** Of the work that runs now; undefined: it is done for no request. */
export const currentTrace = (): Trace | undefined => storage.getStore();

/** Runs `work`, and all that it waits for, as part of a trace; undefined: as part of none, whoever began it. */
export const withTrace = <T>(trace: Trace | undefined, work: () => T): T => storage.run(trace, work);

/** The trace id of a `traceparent`. */
export const traceIdOf = ({ traceparent }: Trace): string => traceparent.slice(3, 35);

/** The span id of a `traceparent`. */
export const spanIdOf = ({ traceparent }: Trace): string => traceparent.slice(36, 52);

const noTrace = '0'.repeat(32);
const noSpan = '0'.repeat(16);

const isTraceparent = (text: unknown): text is string =>
  typeof text === 'string' && form.test(text) && !text.startsWith(noTrace, 3) && !text.startsWith(noSpan, 36);

/** To make a number's digits costs more than to find them. */
const bytes = Array.from({ length: 256 }, (_, n) => n.toString(16).padStart(2, '0'));
const byte = (): string => bytes[Math.floor(Math.random() * bytes.length)] ?? '';
const word = (): string => byte() + byte() + byte() + byte();

/** A name that nobody need guard against guessing, and one for each message of a process: not worth a call for the engine's own entropy. */
const newSpanId = (): string => {
  const id = word() + word();
  return id === noSpan ? newSpanId() : id;
};

/** The trace of who asked, where `traceparent` is one. */
export const traceFrom = (requestId: string, traceparent: unknown): Trace | undefined =>
  isTraceparent(traceparent) ? { requestId: requestId.slice(0, requestIdCharsMax), traceparent } : undefined;

/**
 * A request's trace. It goes on with the caller's `traceparent` where that is one, else it begins here: a request id that is a UUID is
 * the trace id too, so that processes which were told the id alone agree on it.
 */
export const traceOf = (requestId: string, traceparent?: unknown): Trace => {
  const given = traceFrom(requestId, traceparent);
  if (given !== undefined) return given;
  const id = requestId.slice(0, requestIdCharsMax);
  const traceId = uuid.test(id) ? id.replaceAll('-', '') : randomBytes(16).toString('hex');
  return { requestId: id, traceparent: `00-${traceId}-${newSpanId()}-${notRecorded}` };
};

/** The same trace, one hop on: a span of its own. */
export const childOf = ({ requestId, traceparent }: Trace): Trace => ({
  requestId,
  traceparent: `${traceparent.slice(0, 36)}${newSpanId()}${traceparent.slice(52)}`,
});
