/** The agent's stream to its card. Without it network operations fail; VMs run on (S1.3). */
import type { TlsMaterial } from '#base/identity.ts';
import { RpcClient } from '#base/rpc/client.ts';
import type { Method, Params, Result } from '#base/rpc/contract.ts';
import { callByEitherName, withFormerNames } from '#base/rpc/formerNames.ts';
import {
  cardContract,
  type FormerCardMethod,
  formerCardMethods,
  presentCardMethod,
} from '#contracts/card.ts';
import { cardRebuildContract } from '#contracts/card-rebuild.ts';
import { PandoError } from '#contracts/errors.ts';
import type { AgentConfig } from './config.ts';
import { cardCallTimeoutMs, cardRebuildTimeoutMs } from './limits.ts';

type CardContract = typeof cardContract;
export type CardMethod = Method<CardContract>;
type Rebuild = typeof cardRebuildContract;

export class CardLink {
  readonly #client: RpcClient<Record<never, never>, CardContract & Rebuild>;

  constructor(config: AgentConfig['card'], tls: TlsMaterial, onChange: () => void) {
    this.#client = new RpcClient({
      tls,
      host: config.host,
      port: config.port,
      expect: config.identity,
      remote: { ...withFormerNames(cardContract, formerCardMethods), ...cardRebuildContract },
      contract: {},
      handlers: {},
      // The client counts as connected just after this returns.
      onConnect: () => void setImmediate(onChange),
      onDisconnect: onChange,
    });
  }

  get status(): 'ok' | 'degraded' {
    return this.#client.connected ? 'ok' : 'degraded';
  }

  call<M extends CardMethod>(method: M, params: Params<CardContract, M>): Promise<Result<CardContract, M>> {
    return callByEitherName(this.#client, method, params, {
      timeoutMs: cardCallTimeoutMs,
      former: formerCardMethods,
    });
  }

  /** What only a rebuild asks. */
  rebuild<M extends Method<Rebuild>>(method: M, params: Params<Rebuild, M>): Promise<Result<Rebuild, M>> {
    return this.#client.call(method, params, { timeoutMs: cardRebuildTimeoutMs });
  }

  /**
   * A call in the form of the last release (`card.call`), by either name: its parameters came from outside unchecked, so they are
   * checked against the card's contract first.
   */
  async relay(name: CardMethod | FormerCardMethod, params: unknown): Promise<unknown> {
    const method = presentCardMethod(name);
    const parsed = cardContract[method].params.safeParse(params);
    if (!parsed.success)
      throw new PandoError(
        'InvalidParameterValue',
        `${method}: ${parsed.error.issues[0]?.message ?? 'bad parameters'}`,
      );
    // One method and its own checked parameters; the union of all methods is what the compiler cannot tell apart.
    return this.call(method, parsed.data as Params<CardContract, typeof method>);
  }

  close(): void {
    this.#client.close();
  }
}
