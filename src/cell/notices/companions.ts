/**
 * Requests of one wish in several zones (S10.2). They end together: when one is fulfilled, or the first of them ends, the others do. And one of
 * them is offered at a time: the first of them goes before the others, and of those the one whose offer the region heard of first. No cell
 * calls another: each tells the region of its own, and learns there of the others. Told again it is the same.
 */

import { Coalesced } from '#base/coalesced.ts';
import type { Result } from '#base/rpc/contract.ts';
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import type { regionContract } from '#contracts/region.ts';
import { companionsHeardMs, companionsPerTurnMax } from '../limits.ts';
import type { CellServices } from '../services.ts';
import { hasLinked, markTold, type UntoldOffer, untoldOffers } from '../store/wish-offers.ts';

type Answer = Result<typeof regionContract, 'region.endedRequests'>;

interface EndedRow {
  readonly id: string;
  readonly main: string;
  readonly fulfilled: boolean;
}

interface OpenRow {
  readonly id: string;
  readonly main: string;
  readonly waitsFor: string | null;
  readonly offered: boolean;
}

/** What one turn tells the region of, and asks about. */
interface Asked {
  readonly due: readonly EndedRow[];
  readonly open: readonly OpenRow[];
  readonly offers: readonly UntoldOffer[];
}

export interface CompanionsOptions {
  readonly services: Pick<CellServices, 'db' | 'region' | 'identity' | 'clock' | 'log' | 'faults'>;
  /** Ends a request of this cell, whoever's it is; one that has ended stays as it is. */
  end(requestId: string, message: string): Promise<unknown>;
  /** Gives back what is offered to a request, since this offer in another zone goes before it; it waits until that is over. */
  withdraw(requestId: string, by: { readonly offerId: string; readonly requestId: string }): Promise<unknown>;
  /** It may be offered something again. */
  release(requestId: string): Promise<unknown>;
}

export class Companions {
  readonly #options: CompanionsOptions;
  readonly #turning = new Coalesced(() => this.#once());
  #heardMs: number | undefined;

  constructor(options: CompanionsOptions) {
    this.#options = options;
  }

  /** Whether the region has said of late what is offered elsewhere. While it is away, alternatives in this zone are offered to nobody. */
  heard(): boolean {
    const nowMs = this.#options.services.clock.monotonicMs();
    return this.#heardMs !== undefined && nowMs - this.#heardMs <= companionsHeardMs;
  }

  /** Something was offered, or is over. */
  hint(): void {
    void this.turn().catch((error: unknown) =>
      this.#options.services.log.debug(
        { err: error },
        'offers in other zones were not asked about: they are soon',
      ),
    );
  }

  /** Calls while it runs join it, and make it look once more. */
  turn(): Promise<void> {
    return this.#turning.run();
  }

  async #once(): Promise<void> {
    const { db } = this.#options.services;
    if (!(await hasLinked(db))) return;
    const due = await dueIn(db);
    const open = await openIn(db);
    const offers = await untoldOffers(db, companionsPerTurnMax);
    if (due.length === 0 && open.length === 0 && offers.length === 0) return;
    const answer = await this.#ask({ due, open, offers });
    const heardMs = this.#options.services.clock.monotonicMs();
    if (answer !== undefined) await this.#heedAll({ due, open, offers }, answer);
    // Only now: the queue would offer here what the answer says is offered elsewhere, until that is heeded.
    this.#heardMs = heardMs;
  }

  async #heedAll({ due, open, offers }: Asked, answer: Answer): Promise<void> {
    const { db, faults } = this.#options.services;
    await faults.hit('companions.told');
    await db.query('update capacity_requests set ended_due = false where id = any($1)', [
      due.map(({ id }) => id),
    ]);
    await markTold(db, offers);
    await faults.hit('companions.committed');
    for (const row of open) await this.#heed(row, answer);
  }

  /** Undefined: a region of the last release knows of none; it is asked again when it is of this one. */
  async #ask({ due, open, offers }: Asked): Promise<Answer | undefined> {
    const { region, identity } = this.#options.services;
    const ended = due.map(({ id: requestId, main, fulfilled }) => ({ requestId, main, fulfilled }));
    const mains = [...new Set(open.map(({ main }) => main))];
    return region
      .call('region.endedRequests', { cellId: identity.cellId, ended, mains, offers: [...offers] })
      .catch((error: unknown) => {
        if (isUnknownMethod(error)) return undefined;
        throw error;
      });
  }

  async #heed({ id, main, waitsFor, offered }: OpenRow, answer: Answer): Promise<void> {
    const { end, withdraw, release } = this.#options;
    const over = answer.ended.find(
      (other) =>
        other.main === main && other.requestId !== id && (other.fulfilled || other.requestId === main),
    );
    if (over !== undefined) {
      const what = over.fulfilled ? 'was fulfilled' : 'has ended';
      await end(
        id,
        `Your request ${over.requestId}, for the same in another zone, ${what}: this one ends with it.`,
      );
      return;
    }
    // The region tells the one that goes before all others first.
    const first = answer.offered.find((offer) => offer.main === main);
    const waits = first !== undefined && first.requestId !== id && id !== main;
    if (waits && (offered || waitsFor !== first.offerId)) await withdraw(id, first);
    else if (!waits && waitsFor !== null) await release(id);
  }
}

const dueIn = (db: CompanionsOptions['services']['db']): Promise<EndedRow[]> =>
  db.query<EndedRow>(
    `select id, coalesce(companion_of, id) as main, state = 'fulfilled' as fulfilled from capacity_requests
     where ended_due order by id limit $1`,
    [companionsPerTurnMax],
  );

const openIn = (db: CompanionsOptions['services']['db']): Promise<OpenRow[]> =>
  db.query<OpenRow>(
    `select id, coalesce(companion_of, id) as main, waits_for as "waitsFor", state = 'offered' as offered
     from capacity_requests
     where state in ('waiting', 'offered') and (companions is not null or companion_of is not null) order by id limit $1`,
    [companionsPerTurnMax],
  );
