/** Dials a peer and keeps a stream to it: reconnects with bounded back-off for as long as it is not closed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import type { Access } from '#contracts/access.ts';
import { PandoError } from '#contracts/errors.ts';
import { isExpected } from '#contracts/identity.ts';
import { currentTls, identityOf, ownIdentity, type TlsMaterial } from '../identity.ts';
import { monotonicMs } from '../monotonic.ts';
import type { Caller, CallOptions, Contract, Handlers, Method, Params, Result } from './contract.ts';
import { handshakeTimeoutMs, probePauseMs, reconnectMsMax, reconnectMsMin } from './limits.ts';
import { RpcStream } from './stream.ts';

export interface RpcClientOptions<Own extends Contract, Remote extends Contract> {
  readonly tls: TlsMaterial;
  readonly host: string;
  readonly port: number;
  /** The identity that the server must prove, exactly, or a prefix ending in `/`. */
  readonly expect: string;
  readonly remote: Remote;
  readonly contract: Own;
  readonly handlers: Handlers<Own>;
  /** Who may call what of `contract`; needed where that is not empty. */
  readonly access?: Access<Own>;
  /** After each (re)connection: say hello, resubscribe. A failure here closes the stream and dials again. */
  onConnect?(stream: RpcStream<Own, Remote>): Promise<void> | void;
  onDisconnect?(reason: string): void;
}

export class RpcClient<Own extends Contract, Remote extends Contract> implements Caller<Remote> {
  readonly #options: RpcClientOptions<Own, Remote>;
  readonly #waiting = new Set<(stream: RpcStream<Own, Remote>) => void>();
  #stream: RpcStream<Own, Remote> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #backoffMs = reconnectMsMin;
  #closed = false;

  constructor(options: RpcClientOptions<Own, Remote>) {
    this.#options = options;
    this.#dial();
  }

  get connected(): boolean {
    return this.#stream !== undefined;
  }

  /** Fails at once with HostUnreachable when there is no stream: callers decide whether to wait (`ready`). */
  call<M extends Method<Remote>>(
    method: M,
    params: Params<Remote, M>,
    options?: CallOptions,
  ): Promise<Result<Remote, M>> {
    if (this.#stream === undefined)
      return Promise.reject(
        new PandoError('HostUnreachable', `There is no stream to ${this.#options.expect}.`),
      );
    return this.#stream.call(method, params, options);
  }

  /**
   * Resolves once the peer has answered on the stream that {@link call} uses now; rejects with HostUnreachable after `timeoutMs`. A
   * stream whose peer was just killed is still open here until its end is heard of, so an open one is no proof.
   */
  async ready(timeoutMs: number): Promise<void> {
    const startedMs = monotonicMs();
    const leftMs = (): number => Math.max(1, Math.ceil(timeoutMs - (monotonicMs() - startedMs)));
    for (;;) {
      const stream = this.#stream ?? (await this.#connection(leftMs(), timeoutMs));
      const answered = await stream.probe(leftMs()).then(
        () => true,
        () => false,
      );
      if (answered && this.#stream === stream) return;
      if (monotonicMs() - startedMs >= timeoutMs) throw this.#unreached(timeoutMs);
      // A peer that is there and refuses (too many calls) is asked again, not in a tight loop.
      if (!stream.closed) await sleep(Math.min(probePauseMs, leftMs()));
    }
  }

  #unreached(timeoutMs: number): PandoError {
    return new PandoError('HostUnreachable', `${this.#options.expect} was not reached in ${timeoutMs} ms.`);
  }

  #connection(waitMs: number, timeoutMs: number): Promise<RpcStream<Own, Remote>> {
    return new Promise((resolve, reject) => {
      const done = (stream: RpcStream<Own, Remote>): void => {
        clearTimeout(timer);
        resolve(stream);
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(done);
        reject(this.#unreached(timeoutMs));
      }, waitMs);
      this.#waiting.add(done);
    });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#stream?.close('closed by us');
  }

  #dial(): void {
    const { host, port } = this.#options;
    const { ca, cert, key } = currentTls(this.#options.tls);
    // Host names are not what is authenticated: the certificate's spiffe identity is, in #adopt.
    const socket = connect({
      ca,
      cert,
      key,
      host,
      port,
      minVersion: 'TLSv1.3',
      checkServerIdentity: () => undefined,
    });
    const giveUp = setTimeout(() => socket.destroy(), handshakeTimeoutMs);
    const failed = (): void => {
      clearTimeout(giveUp);
      this.#redial();
    };
    socket.once('error', () => undefined);
    socket.once('close', failed);
    socket.once('secureConnect', () => {
      clearTimeout(giveUp);
      socket.off('close', failed);
      this.#adopt(socket);
    });
  }

  #adopt(socket: TLSSocket): void {
    const { expect, onConnect } = this.#options;
    const identity = identityOf(socket);
    if (!socket.authorized || identity === undefined || !isExpected(expect, identity) || this.#closed) {
      socket.destroy();
      this.#redial();
      return;
    }
    const stream: RpcStream<Own, Remote> = new RpcStream(socket, this.#options.remote, {
      peer: identity,
      self: ownIdentity(this.#options.tls),
      access: this.#options.access,
      contract: this.#options.contract,
      handlers: this.#options.handlers,
      onClose: (reason) => this.#lost(stream, reason),
    });
    void Promise.resolve(onConnect?.(stream)).then(
      () => this.#up(stream),
      (error: unknown) => stream.close(error instanceof Error ? error.message : String(error)),
    );
  }

  #up(stream: RpcStream<Own, Remote>): void {
    if (stream.closed) return;
    this.#stream = stream;
    this.#backoffMs = reconnectMsMin;
    for (const wake of this.#waiting) wake(stream);
    this.#waiting.clear();
  }

  #lost(stream: RpcStream<Own, Remote>, reason: string): void {
    if (this.#stream === stream) this.#stream = undefined;
    this.#options.onDisconnect?.(reason);
    this.#redial();
  }

  #redial(): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#dial(), this.#backoffMs);
    this.#backoffMs = Math.min(this.#backoffMs * 2, reconnectMsMax);
  }
}
