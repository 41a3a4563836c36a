/** The supervisor's streams to the region and the processors: kept open, so that a look at them costs one small call. */
import { loadTls, type TlsPaths } from '#base/config.ts';
import { RpcClient } from '#base/rpc/client.ts';
import type { Method, Params, Result } from '#base/rpc/contract.ts';
import { backendContract } from '#contracts/backend.ts';
import { cellOperatorContract } from '#contracts/cell-operator.ts';
import { operatorContract } from '#contracts/operator.ts';

const contract = {
  'process.health': backendContract['process.health'],
  'operator.hosts': cellOperatorContract['operator.hosts'],
  'operator.status': operatorContract['operator.status'],
};
type Contract = typeof contract;

const callTimeoutMs = 2_000;

/** A process that answers calls: where, and who it must prove to be. */
export interface Peer {
  readonly host: string;
  readonly port: number;
  readonly identity: string;
}

export class Peers {
  readonly #files: TlsPaths;
  readonly #clients = new Map<string, RpcClient<Record<never, never>, Contract>>();

  constructor(files: TlsPaths) {
    this.#files = files;
  }

  /** Throws when the peer does not answer in time. */
  async ask<M extends Method<Contract>>(
    peer: Peer,
    method: M,
    params: Params<Contract, M>,
  ): Promise<Result<Contract, M>> {
    const client = this.#client(peer);
    await client.ready(callTimeoutMs);
    return client.call(method, params, { timeoutMs: callTimeoutMs });
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #client({ host, port, identity }: Peer): RpcClient<Record<never, never>, Contract> {
    const key = `${identity} ${host}:${port}`;
    const known = this.#clients.get(key);
    if (known !== undefined) return known;
    const made = new RpcClient({
      tls: loadTls(this.#files),
      host,
      port,
      expect: identity,
      remote: contract,
      contract: {},
      handlers: {},
    });
    this.#clients.set(key, made);
    return made;
  }
}
