/** The part of a test's card that takes part in rebuilds: the rules of its contract, without a kernel behind. */
import type { Handlers } from '#base/rpc/contract.ts';
import type { cardRebuildContract } from '#contracts/card-rebuild.ts';

export class RebuildingCard {
  isolated = false;
  startedAt = new Date().toISOString();
  /** What it cannot remove when it is told to. */
  left: string[] = [];
  #starts = 0;

  readonly handlers: Handlers<typeof cardRebuildContract> = {
    'card.isolate': ({ on }) => {
      this.isolated = on ?? this.isolated;
      return { isolated: this.isolated };
    },
    'card.loop': ({ data }) => ({ data, underlay: { up: true, errors: 0 } }),
    'card.scrub': () => ({ vpcs: 0, left: this.left }),
    'card.restart': () => {
      this.#starts += 1;
      this.startedAt = `${new Date().toISOString()}+${this.#starts}`;
      return {};
    },
  };
}
