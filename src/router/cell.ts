/** A cell as the router sees it: a number, a zone, and processors of which any may serve a request. */
import type { TlsMaterial } from '#base/identity.ts';
import { PandoError } from '#contracts/errors.ts';
import type { CellRecord } from '#contracts/region.ts';
import type { RouterLimits } from './config.ts';
import type { LethalRequests } from './lethalRequests.ts';
import { isUnanswered, type Outcome } from './outcome.ts';
import { type BackendCall, Processor } from './processor.ts';

export class Cell {
  record: CellRecord;
  readonly #processors: readonly Processor[];
  readonly #lethal: LethalRequests;
  #turn = 0;

  constructor(record: CellRecord, tls: TlsMaterial, limits: RouterLimits, lethal: LethalRequests) {
    this.record = record;
    this.#lethal = lethal;
    const { callTimeoutMs, healthTimeoutMs } = limits;
    this.#processors = record.processors.map(
      (address) => new Processor({ tls, address, cellId: record.cellId, callTimeoutMs, healthTimeoutMs }),
    );
  }

  /** Whether a new request may be sent to some processor. */
  get live(): boolean {
    return this.#processors.some((processor) => processor.live);
  }

  /**
   * Asks one processor. If it was not delivered, the next; if it was delivered and not answered, the next
   * only when `repeatable` says that a second execution changes nothing (I4).
   */
  async call(call: BackendCall, repeatable: boolean, timeoutMs?: number): Promise<Outcome> {
    this.#lethal.assertHarmless(call);
    let worst: Outcome | undefined;
    for (const processor of this.#inTurn()) {
      const outcome = await processor.attempt(call, timeoutMs);
      if (!isUnanswered(outcome)) return outcome;
      if (outcome.state === 'uncertain') {
        worst = outcome;
        if (outcome.error.code === 'HostUnreachable') this.#lethal.lost(call, processor.address);
        if (!repeatable) return outcome;
      }
    }
    return (
      worst ?? {
        state: 'undelivered',
        error: new PandoError('HostUnreachable', `No processor of ${this.record.cellId} is connected.`),
      }
    );
  }

  async probe(): Promise<void> {
    await Promise.all(this.#processors.map((processor) => processor.probe()));
  }

  close(): void {
    for (const processor of this.#processors) processor.close();
  }

  /** Live processors first, beginning with another one each time; then those that are only connected. */
  #inTurn(): readonly Processor[] {
    const turn = this.#turn++ % Math.max(1, this.#processors.length);
    const turned = [...this.#processors.slice(turn), ...this.#processors.slice(0, turn)];
    return [...turned.filter(({ live }) => live), ...turned.filter(({ live }) => !live)];
  }
}
