/** Calls that this process has answered, for its log and its metrics: neither knows the streams, nor they them. */
import { channel } from 'node:diagnostics_channel';
import { PandoError } from '#contracts/errors.ts';
import { monotonicMs } from '../monotonic.ts';
import { beginSpan, exportsSpans } from '../spans.ts';
import { childOf, traceOf, withTrace } from '../trace.ts';

export const servedCalls = channel('pando.rpc.served');

export interface ServedCall {
  readonly method: string;
  readonly peer: string;
  /** Our own identity. */
  readonly self: string | undefined;
  readonly ms: number;
  /** Of the error, if it ended in one. */
  readonly code: string | undefined;
  /** The caller did it for a request, as opposed to a beat of its own. */
  readonly requested: boolean;
}

export interface ArrivedCall extends Pick<ServedCall, 'method' | 'peer' | 'self'> {
  readonly rid: string;
  /** Absent: the caller has no trace, or is of a release that sends none. */
  readonly tp?: string | undefined;
}

/** Runs a handler as part of the call's trace and tells how it ended. */
export const serveTraced = <T>(call: ArrivedCall, work: () => Promise<T>): Promise<T> => {
  const asked = traceOf(call.rid, call.tp);
  const spanned = call.tp !== undefined && exportsSpans();
  const trace = spanned ? childOf(asked) : asked;
  return withTrace(trace, async () => {
    const { method, peer, self } = call;
    const beganMs = monotonicMs();
    const endSpan = spanned
      ? beginSpan({ name: method, kind: 'server', trace, parent: asked, attributes: { peer } })
      : undefined;
    const ended = (code?: string): void => {
      endSpan?.(code);
      if (!servedCalls.hasSubscribers) return;
      const ms = monotonicMs() - beganMs;
      servedCalls.publish({
        ...{ method, peer, self, ms, code },
        requested: call.tp !== undefined,
      } satisfies ServedCall);
    };
    try {
      const value = await work();
      ended();
      return value;
    } catch (error) {
      ended(PandoError.from(error).code);
      throw error;
    }
  });
};
