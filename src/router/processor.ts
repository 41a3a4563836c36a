/** One request processor of a cell, or the region: a stream, and whether it is worth asking. */

import type { TlsMaterial } from '#base/identity.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { backendContract } from '#contracts/backend.ts';
import { capacityContract, isCapacityOperation } from '#contracts/capacity.ts';
import { PandoError } from '#contracts/errors.ts';
import { answered, failed, type Outcome } from './outcome.ts';

/** What a backend is told of a request: `ec2.call` of the backend contract, or `capacity.call`, which has the same form. */
export interface BackendCall {
  readonly requestId: string;
  readonly accountId: string;
  readonly principal: string;
  readonly accessKeyId?: string;
  readonly action: string;
  readonly input: unknown;
  readonly offerId?: string;
}

const remote = { ...backendContract, ...capacityContract } as const;

export interface ProcessorOptions {
  readonly tls: TlsMaterial;
  /** `host:port`. */
  readonly address: string;
  readonly cellId: string;
  readonly callTimeoutMs: number;
  readonly healthTimeoutMs: number;
}

export class Processor {
  readonly address: string;
  readonly #client: RpcClient<Record<never, never>, typeof remote>;
  readonly #options: ProcessorOptions;
  /** Set when it did not answer in time though its stream is up (frozen, overloaded); cleared by its next answer. */
  #suspect = false;
  #probing = false;

  constructor(options: ProcessorOptions) {
    this.#options = options;
    this.address = options.address;
    const colon = options.address.lastIndexOf(':');
    this.#client = new RpcClient({
      tls: options.tls,
      host: options.address.slice(0, colon),
      port: Number(options.address.slice(colon + 1)),
      expect: 'spiffe://pando/cell/',
      remote,
      contract: {},
      handlers: {},
    });
  }

  get connected(): boolean {
    return this.#client.connected;
  }

  /** Whether a new request may be sent here. */
  get live(): boolean {
    return this.connected && !this.#suspect;
  }

  /** Sends one call. Between the check of `connected` and the write nothing can run, so `undelivered` is certain. */
  async attempt(call: BackendCall, timeoutMs = this.#options.callTimeoutMs): Promise<Outcome> {
    const backend = `${this.#options.cellId}@${this.address}`;
    if (!this.connected)
      return {
        state: 'undelivered',
        error: new PandoError('HostUnreachable', `${backend} is not connected.`),
      };
    try {
      const options = { timeoutMs, requestId: call.requestId };
      const method = isCapacityOperation(call.action) ? 'capacity.call' : 'ec2.call';
      const { output } = await this.#client.call(method, call, options);
      this.#suspect = false;
      return answered(output, backend);
    } catch (error) {
      const outcome = failed(error, backend);
      if (outcome.state === 'uncertain') this.#suspect = true;
      return outcome;
    }
  }

  /** Asks for its health: so that a frozen process is found before a client's request finds it. */
  async probe(): Promise<void> {
    if (!this.connected || this.#probing) return;
    this.#probing = true;
    try {
      const { ready } = await this.#client.call(
        'process.health',
        {},
        { timeoutMs: this.#options.healthTimeoutMs },
      );
      this.#suspect = !ready;
    } catch (error) {
      // A processor that does not serve the call answers all the same: it lives.
      this.#suspect = PandoError.from(error).code !== 'UnsupportedOperation';
    } finally {
      this.#probing = false;
    }
  }

  close(): void {
    this.#client.close();
  }
}
