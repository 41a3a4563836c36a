/** A peer that has replicas, each of which answers everything: streams to all of them, calls over the first that is there. */
import { PandoError } from '#contracts/errors.ts';
import { RpcClient, type RpcClientOptions } from './client.ts';
import type { Caller, CallOptions, Contract, Method, Params, Result } from './contract.ts';

export interface ReplicaAddress {
  readonly host: string;
  readonly port: number;
  /** What this one must prove; absent: what is expected of all. */
  readonly identity?: string;
}

export interface ReplicaClientOptions<Own extends Contract, Remote extends Contract>
  extends Omit<RpcClientOptions<Own, Remote>, 'host' | 'port'> {
  /** The one that is asked while it is connected comes first. One at least. */
  readonly at: readonly ReplicaAddress[];
}

export class ReplicaClient<Own extends Contract, Remote extends Contract> implements Caller<Remote> {
  readonly #clients: readonly RpcClient<Own, Remote>[];
  readonly #expect: string;

  constructor({ at, ...options }: ReplicaClientOptions<Own, Remote>) {
    if (at.length === 0) throw new RangeError(`${options.expect} has no address`);
    this.#expect = options.expect;
    this.#clients = at.map(
      ({ identity, ...address }) =>
        new RpcClient<Own, Remote>({ ...options, ...address, expect: identity ?? options.expect }),
    );
  }

  /** Whether one of them is. */
  get connected(): boolean {
    return this.#clients.some(({ connected }) => connected);
  }

  /** Fails at once with HostUnreachable when no replica is connected. What one has begun to answer is asked of no other here. */
  call<M extends Method<Remote>>(
    method: M,
    params: Params<Remote, M>,
    options?: CallOptions,
  ): Promise<Result<Remote, M>> {
    const client = this.#clients.find(({ connected }) => connected);
    if (client === undefined)
      return Promise.reject(new PandoError('HostUnreachable', `There is no stream to ${this.#expect}.`));
    return client.call(method, params, options);
  }

  /** Resolves once one of them has answered. @throws HostUnreachable after `timeoutMs` */
  async ready(timeoutMs: number): Promise<void> {
    try {
      await Promise.any(this.#clients.map((client) => client.ready(timeoutMs)));
    } catch {
      throw new PandoError('HostUnreachable', `${this.#expect} was not reached in ${timeoutMs} ms.`);
    }
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }
}
