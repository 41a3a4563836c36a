/** The packet queues that are open on this card, by interface. */

import { PandoError } from '#contracts/errors.ts';
import type { Endpoint } from './model/place.ts';
import { PacketQueue, type QueueCounters, type QueueMode } from './queue.ts';

const noCounters: QueueCounters = { held: 0, heldBytes: 0, forwarded: 0, dropped: 0 };

export class Queues {
  readonly #vtep: string;
  readonly #open = new Map<string, Promise<PacketQueue>>();

  constructor(vtep: string) {
    this.#vtep = vtep;
  }

  /** Opens the queue, or sets the one that is open. Answers where it listens. */
  async open(eniId: string, mode: QueueMode, passTo: Endpoint): Promise<Endpoint> {
    const known = this.#open.get(eniId);
    const opening = known ?? PacketQueue.open(this.#vtep, mode, passTo);
    if (known === undefined) {
      this.#open.set(eniId, opening);
      opening.catch(() => this.#open.delete(eniId));
    }
    const queue = await opening;
    if (known !== undefined) queue.set(mode, passTo);
    return queue.endpoint;
  }

  /** Told to pass, it answers when all that was held has been sent on and nothing has come for `idleMs`. */
  async set(
    eniId: string,
    mode: QueueMode,
    passTo: Endpoint | undefined,
    idleMs = 0,
  ): Promise<QueueCounters> {
    const queue = await this.#open.get(eniId);
    if (queue === undefined)
      throw new PandoError('InvalidNetworkInterfaceID.NotFound', `${eniId} has no open queue here.`);
    queue.set(mode, passTo);
    await queue.drained(idleMs);
    return queue.counters;
  }

  /** The port is gone: what is held is sent on, and nothing more is waited for. No queue: nothing. */
  async end(eniId: string): Promise<void> {
    const queue = await this.#open.get(eniId);
    if (queue === undefined) return;
    this.#open.delete(eniId);
    await queue.close(0);
  }

  /** See `PacketQueue.close`. No queue: nothing. */
  async close(eniId: string, idleMs: number): Promise<QueueCounters> {
    const queue = await this.#open.get(eniId);
    if (queue === undefined) return noCounters;
    const counters = await queue.close(idleMs);
    this.#open.delete(eniId);
    return counters;
  }
}
