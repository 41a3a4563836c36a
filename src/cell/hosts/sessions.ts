/** The hosts that are connected to this processor, and calls to them. */
import type { Caller, CallOptions, Params, Result } from '#base/rpc/contract.ts';
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import { formerCardMethods } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import { type hostContract, relayedToCard } from '#contracts/host.ts';

export type HostCaller = Caller<typeof hostContract>;
type HostMethod = keyof typeof hostContract;
type CardMethod = keyof typeof relayedToCard;

export class HostSessions {
  readonly #callers = new Map<string, HostCaller>();

  attach(hostId: string, caller: HostCaller): void {
    this.#callers.set(hostId, caller);
  }

  /** Forgets this stream; a newer stream of the same host stays. */
  detach(hostId: string, caller: HostCaller): boolean {
    if (this.#callers.get(hostId) !== caller) return false;
    return this.#callers.delete(hostId);
  }

  has(hostId: string): boolean {
    return this.#callers.has(hostId);
  }

  get size(): number {
    return this.#callers.size;
  }

  /** @throws HostUnreachable when the host has no stream to this processor. */
  call<M extends HostMethod>(
    hostId: string,
    method: M,
    params: Params<typeof hostContract, M>,
    options?: CallOptions,
  ): Promise<Result<typeof hostContract, M>> {
    const caller = this.#callers.get(hostId);
    if (caller === undefined)
      return Promise.reject(
        new PandoError('HostUnreachable', `Host ${hostId} is not connected to this processor.`),
      );
    return caller.call(method, params, options);
  }

  /** A call to the host's card. An agent of the last release has one method for all of them. */
  async card<M extends CardMethod>(
    hostId: string,
    method: M,
    params: Params<typeof relayedToCard, M>,
    options?: CallOptions,
  ): Promise<Result<typeof relayedToCard, M>> {
    try {
      return await this.call(hostId, method, params, options);
    } catch (error) {
      if (!isUnknownMethod(error)) throw error;
      return this.#cardOfLastRelease(hostId, method, params, options);
    }
  }

  async #cardOfLastRelease<M extends CardMethod>(
    hostId: string,
    method: M,
    params: Params<typeof relayedToCard, M>,
    options?: CallOptions,
  ): Promise<Result<typeof relayedToCard, M>> {
    const former: Partial<Record<CardMethod, (typeof formerCardMethods)[keyof typeof formerCardMethods]>> =
      formerCardMethods;
    const { result } = await this.call(
      hostId,
      'card.call',
      { method: former[method] ?? method, params },
      options,
    );
    const parsed = relayedToCard[method].result.safeParse(result);
    if (!parsed.success)
      throw new PandoError('InternalError', `The card of ${hostId} answered ${method} out of contract.`);
    return parsed.data as Result<typeof relayedToCard, M>;
  }
}
