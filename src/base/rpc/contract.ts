/** Types of a contract: method name → the zod schemas of its parameters and its result. */
import type { z } from 'zod';

export type Contract = Readonly<Record<string, { params: z.ZodType; result: z.ZodType }>>;
export type Method<C extends Contract> = keyof C & string;
export type Params<C extends Contract, M extends Method<C>> = z.input<C[M]['params']>;
export type ParsedParams<C extends Contract, M extends Method<C>> = z.output<C[M]['params']>;
export type Result<C extends Contract, M extends Method<C>> = z.output<C[M]['result']>;

/** What a handler knows of the call: who asks, until when, and the request id to log under. */
export interface CallContext {
  /** Peer's identity from its certificate, e.g. `spiffe://pando/agent/cell-a/h-1`. */
  readonly peer: string;
  readonly requestId: string;
  /** Aborted at the deadline or when the stream is lost. */
  readonly signal: AbortSignal;
}

export type Handlers<C extends Contract> = {
  [M in Method<C>]?: (
    params: ParsedParams<C, M>,
    context: CallContext,
  ) => Promise<Result<C, M>> | Result<C, M>;
};

/** The calling side of a stream. */
export interface Caller<C extends Contract> {
  call<M extends Method<C>>(method: M, params: Params<C, M>, options?: CallOptions): Promise<Result<C, M>>;
}

export interface CallOptions {
  /** Deadline of the call; the other side is told and stops too. Default `callTimeoutMsDefault`. */
  readonly timeoutMs?: number;
  readonly requestId?: string;
}
