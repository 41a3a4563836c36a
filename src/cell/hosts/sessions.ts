/** The hosts that are connected to this processor, and calls to them. */
import type { Caller, CallOptions, Params, Result } from '#base/rpc/contract.ts';
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import { formerCardMethods } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import { type CommandKey, type hostContract, relayedToCard } from '#contracts/host.ts';
import type { CommandLease } from '../command-lease.ts';
import { hostResource, namingResource } from './reach.ts';

export type HostCaller = Caller<typeof hostContract>;
type HostMethod = keyof typeof hostContract;
type CardMethod = keyof typeof relayedToCard;

/** For a call about an instance's port: who commands, and which instance. */
export interface CardCallOptions extends CallOptions {
  readonly command?: CommandKey;
  readonly instanceId?: string;
}

export class HostSessions {
  readonly #callers = new Map<string, HostCaller>();
  /** Connected hosts whose agents are of the last release. */
  readonly #silentOnHealth = new Set<string>();
  readonly #lease: CommandLease | undefined;

  constructor(lease?: CommandLease) {
    this.#lease = lease;
  }
  #resources: readonly string[] | undefined;
  /** Told of each host that has dialled in. */
  onAttach: ((hostId: string) => void) | undefined;

  attach(hostId: string, caller: HostCaller): void {
    this.#callers.set(hostId, caller);
    this.#resources = undefined;
    this.onAttach?.(hostId);
  }

  /** Forgets this stream; a newer stream of the same host stays. */
  detach(hostId: string, caller: HostCaller): boolean {
    if (this.#callers.get(hostId) !== caller) return false;
    this.#resources = undefined;
    this.#silentOnHealth.delete(hostId);
    return this.#callers.delete(hostId);
  }

  /** The ids of the hosts that are connected. */
  ids(): readonly string[] {
    return [...this.#callers.keys()];
  }

  /** The same as workflows name them when they wait for one. */
  resources(): readonly string[] {
    this.#resources ??= this.ids().map(hostResource);
    return this.#resources;
  }

  has(hostId: string): boolean {
    return this.#callers.has(hostId);
  }

  /** Whether this is the stream that the host's last hello was answered on. */
  isOn(hostId: string, caller: HostCaller): boolean {
    return this.#callers.get(hostId) === caller;
  }

  /** Whether this host tells how its VMs are, by its last report. */
  tellsHealth(hostId: string, tells: boolean): void {
    if (tells || !this.has(hostId)) this.#silentOnHealth.delete(hostId);
    else this.#silentOnHealth.add(hostId);
  }

  isSilentOnHealth(hostId: string): boolean {
    return this.#silentOnHealth.has(hostId);
  }

  get size(): number {
    return this.#callers.size;
  }

  /** @throws HostUnreachable when the host has no stream to this processor; errors of the link name the host; StaleEpoch when this processor may not command. */
  async call<M extends HostMethod>(
    hostId: string,
    method: M,
    params: Params<typeof hostContract, M>,
    options?: CallOptions,
  ): Promise<Result<typeof hostContract, M>> {
    const caller = this.#callers.get(hostId);
    // With no wait between this and the sending.
    if ('command' in params && params.command !== undefined && this.#lease?.allows(params.command) === false)
      throw this.#lease.refusal();
    if (caller === undefined)
      throw new PandoError('HostUnreachable', `Host ${hostId} is not connected to this processor.`, {
        details: { resource: hostResource(hostId) },
      });
    try {
      return await caller.call(method, params, options);
    } catch (error) {
      throw namingResource(error, hostResource(hostId));
    }
  }

  /**
   * A call to the host's card; about an instance's port with the key of who commands. An agent of the last release has one method for
   * all of them.
   */
  async card<M extends CardMethod>(
    hostId: string,
    method: M,
    params: Params<typeof relayedToCard, M>,
    { command, instanceId, ...options }: CardCallOptions = {},
  ): Promise<Result<typeof relayedToCard, M>> {
    const keyed = command === undefined ? params : { ...params, command, instanceId };
    try {
      return await this.call(hostId, method, keyed, options);
    } catch (error) {
      if (!isUnknownMethod(error)) throw error;
      return this.#cardOfLastRelease(hostId, method, keyed, options);
    }
  }

  async #cardOfLastRelease<M extends CardMethod>(
    hostId: string,
    method: M,
    params: Params<typeof relayedToCard, M>,
    options: CallOptions,
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
