/** The packet queues that are open on this card, by interface. */

import { PandoError } from '#contracts/errors.ts';
import type { Endpoint } from './model/place.ts';
import { PacketQueue, type QueueChange, type QueueCounters } from './queue.ts';

const noCounters: QueueCounters = { held: 0, heldBytes: 0, forwarded: 0, dropped: 0 };

export class Queues {
  readonly #vtep: string;
  readonly #open = new Map<string, Promise<PacketQueue>>();

  constructor(vtep: string) {
    this.#vtep = vtep;
  }

  /** Opens the queue, or sets the one that is open. Answers where it listens. */
  async open(eniId: string, start: QueueChange & { readonly passTo: Endpoint }): Promise<Endpoint> {
    const known = this.#open.get(eniId);
    const opening = known ?? PacketQueue.open(this.#vtep, start);
    if (known === undefined) {
      this.#open.set(eniId, opening);
      opening.catch(() => this.#open.delete(eniId));
    }
    const queue = await opening;
    if (known !== undefined) queue.set(start);
    return queue.endpoint;
  }

  /** Told to pass, it answers when all that was held has been sent on and nothing has come for `idleMs`. */
  async set(
    eniId: string,
    { idleMs = 0, ...change }: QueueChange & { readonly idleMs?: number | undefined },
  ): Promise<QueueCounters> {
    const queue = await this.#open.get(eniId);
    if (queue === undefined)
      throw new PandoError('InvalidNetworkInterfaceID.NotFound', `${eniId} has no open queue here.`);
    queue.set(change);
    await queue.drained(idleMs);
    return queue.counters;
  }

  /** The port is gone: its queue is forgotten, and closed once nothing has arrived for `idleMs`. No queue: nothing. */
  async drop(eniId: string, idleMs: number): Promise<void> {
    const queue = this.#open.get(eniId);
    this.#open.delete(eniId);
    await (await queue)?.close(idleMs);
  }

  /** See `PacketQueue.close`. No queue: nothing. */
  async close(eniId: string, idleMs: number): Promise<QueueCounters> {
    const queue = await this.#open.get(eniId);
    if (queue === undefined) return noCounters;
    const counters = await queue.close(idleMs);
    if ((await this.#open.get(eniId)) === queue) this.#open.delete(eniId);
    return counters;
  }
}
