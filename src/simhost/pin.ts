/** Whose a simulated host is: the rules of a real host's pin (`agent/cell-pin.ts`), in memory. */
import type { ParsedParams } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { hostContract } from '#contracts/host.ts';

export interface SimPinned {
  readonly cellId: string;
  readonly region?: string | undefined;
  readonly generation?: number | undefined;
}

export class SimPin {
  readonly #hostId: string;
  #pin: SimPinned | undefined;

  constructor(hostId: string) {
    this.#hostId = hostId;
  }

  get current(): SimPinned | undefined {
    return this.#pin;
  }

  /** Takes a cell's answer: the first cell pins it. @throws Conflict when it is another cell's */
  joined({ cellId, region }: SimPinned): void {
    if (this.#pin !== undefined && this.#pin.cellId !== cellId)
      throw new PandoError('Conflict', `${this.#hostId} belongs to ${this.#pin.cellId}, not to ${cellId}.`);
    this.#pin = { ...this.#pin, cellId, region };
  }

  /** Another cell's from now on. @throws StaleEpoch, IncorrectState */
  rehome(
    { to, generation }: ParsedParams<typeof hostContract, 'host.rehome'>,
    isEmpty: boolean,
  ): { generation: number } {
    const before = this.#pin?.generation ?? 1;
    if (before === generation && this.#pin?.cellId === to.cellId) return { generation };
    if (generation <= before)
      throw new PandoError('StaleEpoch', `${this.#hostId} was moved under generation ${before} already.`);
    if (!isEmpty) throw new PandoError('IncorrectState', `${this.#hostId} has VMs.`);
    this.#pin = { cellId: to.cellId, region: to.region, generation };
    return { generation };
  }
}
