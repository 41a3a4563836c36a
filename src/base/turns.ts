/** Work of one party runs a few at a time; what it asks for beyond that waits for its own turn, so that others find room. */
import { PandoError } from '#contracts/errors.ts';

export interface TurnsOptions {
  /** Of one party. */
  readonly atOnceMax: number;
  readonly waitingMax: number;
}

interface Party {
  running: number;
  readonly waiting: (() => void)[];
}

export class Turns {
  readonly #options: TurnsOptions;
  readonly #parties = new Map<string, Party>();

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /** Parties of which something runs or waits. */
  get size(): number {
    return this.#parties.size;
  }

  /** @throws RequestLimitExceeded where too much of this party waits already */
  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const party = this.#parties.get(name) ?? { running: 0, waiting: [] };
    this.#parties.set(name, party);
    if (party.running < this.#options.atOnceMax) party.running += 1;
    else {
      if (party.waiting.length >= this.#options.waitingMax)
        throw new PandoError('RequestLimitExceeded', 'Request limit exceeded.');
      // Whoever ends gives its place away: `running` stays as it is.
      await new Promise<void>((go) => party.waiting.push(go));
    }
    try {
      return await work();
    } finally {
      this.#end(name, party);
    }
  }

  #end(name: string, party: Party): void {
    const next = party.waiting.shift();
    if (next !== undefined) next();
    else party.running -= 1;
    if (party.running === 0) this.#parties.delete(name);
  }
}
