/** Real cards as the devices of a fleet, without a region and a cell in between: each is asked over a connection of this process's own. */
import { setTimeout as delay } from 'node:timers/promises';
import type { TlsMaterial } from '#base/identity.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { cardContract } from '#contracts/card.ts';
import type { NetworkDevice } from '#contracts/network-objects.ts';
import type { Fleet } from '#region/rollouts/fleet.ts';
import type { FleetDevice } from '#rollout/waves.ts';

export interface CardAddress {
  readonly name: string;
  readonly vtep: string;
}

type Client = RpcClient<Record<string, never>, typeof cardContract>;

/** As a cell hears of its hosts: one that does not answer for so long cannot be reached. */
const beatEveryMs = 200;
const beatTimeoutMs = 600;
const callTimeoutMs = 4_000;

export class CardFleet implements Fleet, AsyncDisposable {
  readonly #cards = new Map<string, { readonly client: Client; reachable: boolean }>();
  readonly #devices: readonly FleetDevice[];
  readonly #stop = new AbortController();
  readonly #beats: Promise<void>[];

  constructor(cards: readonly CardAddress[], tls: TlsMaterial) {
    this.#devices = cards.map(({ name, vtep }) => ({ id: `card/${vtep}`, cell: `cell-${name}`, zone: 'z' }));
    for (const { name, vtep } of cards) {
      const client: Client = new RpcClient({
        ...{ tls, host: vtep, port: 7000, expect: `spiffe://pando/card/${name}` },
        ...{ remote: cardContract, contract: {}, handlers: {} },
      });
      this.#cards.set(`card/${vtep}`, { client, reachable: false });
    }
    this.#beats = [...this.#cards.values()].map((card) => this.#beat(card));
  }

  devices(): readonly FleetDevice[] {
    return this.#devices;
  }

  reachable(deviceId: string): boolean {
    return this.#cards.get(deviceId)?.reachable ?? false;
  }

  device(deviceId: string): NetworkDevice | undefined {
    const card = this.#cards.get(deviceId);
    if (card === undefined) return undefined;
    const { client } = card;
    const options = { timeoutMs: callTimeoutMs };
    return {
      deviceId,
      objects: (vpcIds) => client.call('card.objects', { vpcIds: vpcIds && [...vpcIds] }, options),
      transact: (transaction) => client.call('card.transact', transaction, options),
      preview: (transaction) => client.call('card.preview', transaction, options),
      confirm: async (transactionId, fence) => {
        await client.call('card.confirm', { transactionId, fence }, options);
      },
      probe: (probe) => client.call('card.probe', probe, { timeoutMs: 30_000 }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#beats);
    for (const { client } of this.#cards.values()) client.close();
  }

  async #beat(card: { readonly client: Client; reachable: boolean }): Promise<void> {
    while (!this.#stop.signal.aborted) {
      card.reachable = await card.client.call('card.status', {}, { timeoutMs: beatTimeoutMs }).then(
        () => true,
        () => false,
      );
      await delay(beatEveryMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }
}
