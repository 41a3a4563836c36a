/** One live stream between two processes: calls in both directions, deadlines, cancellation, keep-alive, bounded in flight. */
import { randomUUID } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Access } from '#contracts/access.ts';
import { isErrorCode, PandoError } from '#contracts/errors.ts';
import { endingSpan, exportsSpans } from '../spans.ts';
import { childOf, currentTrace } from '../trace.ts';
import { assertOutsideTransaction } from '../transactionScope.ts';
import { type AccessFacts, boundsFor, checkBounds, type Ends, endsOf } from './access.ts';
import type {
  CallContext,
  Caller,
  CallOptions,
  Contract,
  Handlers,
  Method,
  Params,
  Result,
} from './contract.ts';
import { type EncodedFrame, encodeFrame, type Frame, FrameReader, writeFrame } from './frames.ts';
import {
  callTimeoutMsDefault,
  errorDetailsMax,
  errorTextCharsMax,
  inFlightCallsMax,
  keepAliveEveryMs,
  silenceMsMax,
  unsentBytesMax,
} from './limits.ts';
import { rpcLoad } from './load.ts';
import { serveTraced } from './served.ts';
import { type UnexpectedError, unexpectedErrors } from './unexpected.ts';

interface Pending {
  readonly method: string;
  readonly timer: NodeJS.Timeout;
  resolve(value: unknown): void;
  reject(error: PandoError): void;
}

type AnyHandler = (params: unknown, context: CallContext) => unknown;

export interface StreamOptions<Own extends Contract> {
  readonly peer: string;
  /** Our own identity. */
  readonly self?: string | undefined;
  /** Who may call what of `contract`; what has no rule is refused. */
  readonly access?: Access<Own> | undefined;
  readonly facts?: AccessFacts | undefined;
  /** Contract and handlers of the calls that the other side may make. */
  readonly contract: Own;
  readonly handlers: Handlers<Own>;
  onClose?(reason: string): void;
}

/** No process serves it. A peer of any release refuses it, and its refusal is an answer. */
const probeMethod = 'rpc.probe';

export class RpcStream<Own extends Contract, Remote extends Contract> implements Caller<Remote> {
  readonly peer: string;
  readonly #socket: TLSSocket;
  readonly #options: StreamOptions<Own>;
  readonly #remote: Remote;
  readonly #ends: Ends;
  readonly #pending = new Map<number, Pending>();
  readonly #serving = new Map<number, AbortController>();
  readonly #reader = new FrameReader();
  readonly #keepAlive: NodeJS.Timeout;
  /** Whether frames are held back until the end of this turn. */
  #isCorked = false;
  #nextId = 1;
  /** Beats of our own since the peer was heard: where we stand still ourselves, they do too. */
  #beatsUnheard = 0;
  #closed: string | undefined;

  constructor(socket: TLSSocket, remote: Remote, options: StreamOptions<Own>) {
    this.#socket = socket;
    this.#remote = remote;
    this.#options = options;
    this.peer = options.peer;
    this.#ends = endsOf(options.peer, options.self);
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', (error) => this.close(error.message));
    socket.on('close', () => this.close('the stream was closed'));
    rpcLoad.streams++;
    this.#keepAlive = setInterval(() => this.#beat(), keepAliveEveryMs);
    this.#keepAlive.unref();
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  call<M extends Method<Remote>>(
    method: M,
    params: Params<Remote, M>,
    options: CallOptions = {},
  ): Promise<Result<Remote, M>> {
    assertOutsideTransaction(method);
    if (this.#closed !== undefined) return Promise.reject(unreachable(this.peer, this.#closed));
    if (this.#pending.size >= inFlightCallsMax || this.#socket.writableLength > unsentBytesMax)
      return Promise.reject(
        new PandoError('RequestLimitExceeded', `Too many calls in flight to ${this.peer}.`),
      );
    const id = this.#nextId++;
    const timeoutMs = options.timeoutMs ?? callTimeoutMsDefault;
    const trace = currentTrace();
    const rid = options.requestId ?? trace?.requestId ?? randomUUID();
    const hop = trace && childOf(trace);
    const tp = hop && { tp: hop.traceparent };
    // Before the call is pending: what is too large, or is no JSON, is its caller's fault and closes nothing.
    let frame: EncodedFrame;
    try {
      frame = encodeFrame({ t: 'c', id, m: method, p: params, ms: timeoutMs, rid, ...tp });
    } catch (error) {
      return Promise.reject(PandoError.from(error));
    }
    const ask = (): Promise<Result<Remote, M>> => this.#ask(method, { id, timeoutMs, frame });
    if (hop === undefined || !exportsSpans()) return ask();
    const attributes = { peer: this.peer };
    return endingSpan({ name: method, kind: 'client', trace: hop, parent: trace, attributes }, ask);
  }

  #ask<M extends Method<Remote>>(
    method: M,
    {
      id,
      timeoutMs,
      frame,
    }: { readonly id: number; readonly timeoutMs: number; readonly frame: EncodedFrame },
  ): Promise<Result<Remote, M>> {
    return new Promise<Result<Remote, M>>((resolve, reject) => {
      // What came while this process stood still lies in its socket, and is read first: timers run before that.
      const timer = setTimeout(() => setImmediate(() => this.#expire(id, timeoutMs)), timeoutMs);
      rpcLoad.awaiting++;
      this.#pending.set(id, {
        method,
        timer,
        reject,
        resolve: (value) => {
          const parsed = this.#remote[method]?.result.safeParse(value);
          if (parsed?.success) resolve(parsed.data as Result<Remote, M>);
          else reject(new PandoError('InternalError', `${this.peer} answered ${method} out of contract.`));
        },
      });
      this.#write(frame);
    });
  }

  /** Resolves once the peer has answered on this stream: that it is open does not prove that anybody is at its other end. */
  async probe(timeoutMs: number): Promise<void> {
    try {
      await this.call(probeMethod as never, {} as never, { timeoutMs });
    } catch (error) {
      if (PandoError.from(error).code !== 'UnsupportedOperation') throw error;
    }
  }

  close(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    clearInterval(this.#keepAlive);
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(unreachable(this.peer, reason));
    }
    rpcLoad.streams--;
    rpcLoad.awaiting -= this.#pending.size;
    this.#pending.clear();
    for (const controller of this.#serving.values()) controller.abort(unreachable(this.peer, reason));
    this.#serving.clear();
    // An answer of this very turn is still told.
    this.#uncork();
    this.#socket.destroy();
    this.#options.onClose?.(reason);
  }

  /** What is told in one turn of the event loop goes out in one write: each write is a record of TLS and a call of the system. */
  #write(frame: EncodedFrame): void {
    if (this.#closed !== undefined) return;
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      process.nextTick(() => this.#uncork());
    }
    writeFrame(this.#socket, frame);
  }

  #uncork(): void {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#socket.uncork();
  }

  #beat(): void {
    this.#beatsUnheard += 1;
    if (this.#beatsUnheard > silenceMsMax / keepAliveEveryMs)
      this.close(`${this.peer} has been silent for ${silenceMsMax} ms`);
    else this.#write(encodeFrame({ t: 'p' }));
  }

  #expire(id: number, timeoutMs: number): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    rpcLoad.awaiting--;
    this.#write(encodeFrame({ t: 'x', id }));
    pending.reject(
      new PandoError('DeadlineExceeded', `${this.peer} did not answer ${pending.method} in ${timeoutMs} ms.`),
    );
  }

  #onData(chunk: Buffer): void {
    this.#beatsUnheard = 0;
    try {
      for (const frame of this.#reader.push(chunk)) this.#onFrame(frame);
    } catch (error) {
      this.close(`bad frame: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #onFrame(frame: Frame): void {
    switch (frame.t) {
      case 'c':
        // Under one number any number of calls would be served at once, since they are counted by it.
        if (this.#serving.has(frame.id)) throw new Error(`call ${frame.id} is being served already`);
        void this.#serve(frame);
        return;
      case 'r':
        this.#settle(frame.id)?.resolve(frame.v);
        return;
      case 'e':
        this.#settle(frame.id)?.reject(errorIn(frame));
        return;
      case 'x':
        this.#serving.get(frame.id)?.abort(new PandoError('Cancelled', 'The caller gave up.'));
        return;
      case 'p':
        return;
    }
  }

  /** An answer that matches no outstanding call is dropped (S2.7's rule, kept on every stream). */
  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending === undefined) return undefined;
    this.#pending.delete(id);
    rpcLoad.awaiting--;
    clearTimeout(pending.timer);
    return pending;
  }

  async #serve(frame: Extract<Frame, { t: 'c' }>): Promise<void> {
    const { id, m: method } = frame;
    const controller = new AbortController();
    rpcLoad.serving++;
    try {
      if (this.#serving.size >= inFlightCallsMax)
        throw new PandoError('RequestLimitExceeded', 'Too many calls are being served.');
      this.#serving.set(id, controller);
      const timer = setTimeout(
        () => controller.abort(new PandoError('DeadlineExceeded', 'Too late.')),
        frame.ms,
      );
      try {
        const context = { peer: this.peer, requestId: frame.rid, signal: controller.signal };
        const { rid, tp } = frame;
        const arrived = { method, peer: this.peer, self: this.#options.self, rid, tp };
        const v = await serveTraced(arrived, () => this.#dispatch(method, frame.p, context));
        // An answer that is too large is an error of this call, and of no other on the stream.
        this.#write(encodeFrame({ t: 'r', id, v }));
      } finally {
        clearTimeout(timer);
      }
    } catch (error) {
      const known = PandoError.from(error);
      if (known !== error)
        unexpectedErrors.publish({
          method,
          peer: this.peer,
          requestId: frame.rid,
          error,
        } satisfies UnexpectedError);
      this.#write(encodeFrame(errorFrame(id, known)));
    } finally {
      rpcLoad.serving--;
      this.#serving.delete(id);
    }
  }

  async #dispatch(method: string, params: unknown, context: CallContext): Promise<unknown> {
    const entry = Object.hasOwn(this.#options.contract, method) ? this.#options.contract[method] : undefined;
    const handler = (this.#options.handlers as Record<string, AnyHandler | undefined>)[method];
    if (entry === undefined || handler === undefined)
      throw new PandoError('UnsupportedOperation', `${method} is not served here.`);
    // The role before the parameters are looked at: a stranger learns nothing of them.
    const bounds = boundsFor(this.#options.access, method, this.#ends);
    const parsed = entry.params.safeParse(params);
    if (!parsed.success)
      throw new PandoError(
        'InvalidParameterValue',
        `${method}: ${parsed.error.issues[0]?.path.join('.')}: ${parsed.error.issues[0]?.message}`,
      );
    if (bounds !== 'any')
      await checkBounds(method, bounds, this.#ends, parsed.data as never, this.#options.facts ?? {});
    return (await handler(parsed.data, context)) ?? {};
  }
}

const errorFrame = (id: number, { code, message, details }: PandoError): Frame => ({
  t: 'e',
  id,
  code,
  message: message.slice(0, errorTextCharsMax),
  ...(details && {
    details: Object.fromEntries(
      Object.entries(details)
        .slice(0, errorDetailsMax)
        .map(([name, text]) => [name, text.slice(0, errorTextCharsMax)]),
    ),
  }),
});

/** A code that only a newer peer knows is an inner error here. */
const errorIn = ({ code, message, details }: Extract<Frame, { t: 'e' }>): PandoError =>
  isErrorCode(code)
    ? new PandoError(code, message, { details })
    : new PandoError('InternalError', `${code}: ${message}`, { details });

const unreachable = (peer: string, reason: string): PandoError =>
  new PandoError('HostUnreachable', `${peer} cannot be reached: ${reason}`);
