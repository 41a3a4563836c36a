/** Calls a simulated host in the same process, as a stream would: faults, lost answers, a broken stream. */
import type { CallContext, Caller, CallOptions, Method, Params, Result } from '#base/rpc/contract.ts';
import { serveTraced } from '#base/rpc/served.ts';
import { childOf, currentTrace } from '#base/trace.ts';
import { assertOutsideTransaction } from '#base/transactionScope.ts';
import { PandoError } from '#contracts/errors.ts';
import { hostContract } from '#contracts/host.ts';
import { type HostFault, orderedFailure } from './faults.ts';
import type { SimHost } from './sim-host.ts';

/** The context of calls that come through no stream. */
const simCallContext: CallContext = {
  peer: 'spiffe://pando/cell/sim',
  requestId: 'sim',
  signal: new AbortController().signal,
};

type Host = typeof hostContract;
type AnyHandler = (params: unknown, context: typeof simCallContext) => unknown;

export interface SimCallerOptions {
  /** Check parameters and results by the contract, as a real stream does. Costs CPU; off in benchmarks. */
  readonly checked?: boolean;
  /** Told when the host's agent died: the session is over. */
  onClose?(): void;
}

const callTimeoutMsDefault = 30_000;

/** One session of a cell processor with a simulated host. */
export class SimCaller implements Caller<Host> {
  readonly #host: SimHost;
  readonly #options: SimCallerOptions;
  readonly #waiting = new Set<(error: PandoError) => void>();
  #closed = false;

  constructor(host: SimHost, options: SimCallerOptions = {}) {
    this.#host = host;
    this.#options = options;
    host.crashListeners.add(this.#onCrash);
  }

  get hostId(): string {
    return this.#host.hostId;
  }

  readonly #onCrash = (): void => this.close();

  /** Breaks the stream: calls in flight fail, though what they began may still happen. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#host.crashListeners.delete(this.#onCrash);
    for (const reject of [...this.#waiting]) reject(this.#unreachable());
    this.#options.onClose?.();
  }

  call<M extends Method<Host>>(
    method: M,
    params: Params<Host, M>,
    options: CallOptions = {},
  ): Promise<Result<Host, M>> {
    assertOutsideTransaction(method);
    if (this.#closed) return Promise.reject(this.#unreachable());
    return new Promise((resolve, reject) => {
      const timeoutMs = options.timeoutMs ?? callTimeoutMsDefault;
      const settle = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(fail);
      };
      const fail = (error: PandoError): void => {
        settle();
        reject(error);
      };
      const timer = setTimeout(
        () =>
          fail(
            new PandoError(
              'DeadlineExceeded',
              `${this.#host.hostId} did not answer ${method} in ${timeoutMs} ms.`,
            ),
          ),
        timeoutMs,
      );
      this.#waiting.add(fail);
      this.#serve(method, params).then(
        (value) => {
          settle();
          resolve(value as Result<Host, M>);
        },
        (error: unknown) => fail(PandoError.from(error)),
      );
    });
  }

  async #serve(method: Method<Host>, params: unknown): Promise<unknown> {
    const trace = currentTrace();
    const call = {
      method,
      peer: simCallContext.peer,
      self: `spiffe://pando/agent/-/${this.hostId}`,
      rid: trace?.requestId ?? simCallContext.requestId,
      ...(trace && { tp: childOf(trace).traceparent }),
    };
    return serveTraced(call, () => {
      const fault = this.#host.faults.take(method);
      if (fault !== undefined) return this.#faulty(fault, method, params);
      return this.#carryOut(method, params);
    });
  }

  async #faulty(fault: HostFault, method: Method<Host>, params: unknown): Promise<unknown> {
    switch (fault.kind) {
      case 'fail':
        throw fault.error ?? orderedFailure();
      case 'hang':
        return new Promise(() => undefined);
      case 'crash-before':
        this.#host.crash();
        throw this.#unreachable();
      case 'crash-after':
        await this.#carryOut(method, params).catch(() => undefined);
        this.#host.crash();
        throw this.#unreachable();
      case 'duplicate': {
        const first = this.#carryOut(method, params).catch(() => undefined);
        const second = this.#carryOut(method, params);
        await first;
        return second;
      }
    }
  }

  async #carryOut(method: Method<Host>, params: unknown): Promise<unknown> {
    const handler = this.#host.handlers[method] as AnyHandler;
    if (!this.#options.checked) return handler(params, simCallContext);
    const parsed = hostContract[method].params.safeParse(params);
    if (!parsed.success)
      throw new PandoError(
        'InvalidParameterValue',
        `${method}: ${parsed.error.issues[0]?.path.join('.')}: ${parsed.error.issues[0]?.message}`,
      );
    return hostContract[method].result.parse((await handler(parsed.data, simCallContext)) ?? {});
  }

  #unreachable(): PandoError {
    return new PandoError('HostUnreachable', `${this.#host.hostId} cannot be reached.`);
  }
}
