/**
 * Pieces of work as spans of a trace. A span is published when it ends, for the exporter (`spanExport.ts`). Without an exporter no span
 * is made. Work that is done for no request has no trace, and no span.
 */
import { channel } from 'node:diagnostics_channel';
import { PandoError } from '#contracts/errors.ts';
import { monotonicMs } from './monotonic.ts';
import { childOf, spanIdOf, type Trace, traceIdOf, withTrace } from './trace.ts';

export const endedSpans = channel('pando.spans.ended');

export interface EndedSpan {
  readonly name: string;
  /** Who serves a call, who makes one, or a part of its own. */
  readonly kind: 'server' | 'client' | 'internal';
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined: the trace begins here. */
  readonly parentId: string | undefined;
  readonly ms: number;
  /** Of the error, if it ended in one. */
  readonly code: string | undefined;
  readonly attributes: Readonly<Record<string, string>>;
}

/** What a span is known of before it ends. */
export interface SpanStart extends Pick<EndedSpan, 'name' | 'kind'> {
  /** The span's own place. */
  readonly trace: Trace;
  /** What it is a part of; undefined: it begins the trace. */
  readonly parent: Trace | undefined;
  readonly attributes?: Readonly<Record<string, string>>;
}

/** Whether anybody exports spans. */
export const exportsSpans = (): boolean => endedSpans.hasSubscribers;

/** Begins a span; what it answers ends it. */
export const beginSpan = ({ name, kind, trace, parent, attributes = {} }: SpanStart) => {
  const beganMs = monotonicMs();
  return (code?: string, more: Readonly<Record<string, string>> = {}): void =>
    endedSpans.publish({
      ...{ name, kind, traceId: traceIdOf(trace), spanId: spanIdOf(trace) },
      parentId: parent && spanIdOf(parent),
      ms: monotonicMs() - beganMs,
      ...{ code, attributes: { ...attributes, requestId: trace.requestId, ...more } },
    } satisfies EndedSpan);
};

/** Runs `work` as a span: it begins before whatever `work` does at once, spans of its own among that. */
export const endingSpan = async <T>(start: SpanStart, work: () => Promise<T>): Promise<T> => {
  const end = beginSpan(start);
  try {
    const value = await work();
    end();
    return value;
  } catch (error) {
    end(PandoError.from(error).code);
    throw error;
  }
};

/** Runs `work` one hop on from `parent`, in a span of its own; undefined: in no trace. */
export const inSpan = <T>(
  { parent, ...what }: Omit<SpanStart, 'trace'>,
  work: () => Promise<T>,
): Promise<T> => {
  if (parent === undefined) return withTrace(undefined, work);
  const trace = childOf(parent);
  return withTrace(trace, () => (exportsSpans() ? endingSpan({ ...what, parent, trace }, work) : work()));
};
