/** What keeps claims in order by itself: those that ran out are released, counters are compared with them, and people are told. */
import type { Logger } from '#base/log.ts';
import type { Caller } from '#base/rpc/contract.ts';
import type { regionContract } from '#contracts/region.ts';
import { claimsSweepMax, misfitsToldMax, placementGroupsPerTurnMax } from '../limits.ts';
import { listExpired, releaseClaim } from '../store/claims.ts';
import { type Drift, driftsOf, type Misfit, misfitsOf, recount } from '../store/claims-check.ts';
import { knowGroup, purgeGroups, unknownGroups } from '../store/placement-groups.ts';
import type { Database } from '../store/sql.ts';
import { groupRowOf } from './constrained.ts';

export interface UpkeepOptions {
  readonly db: Database;
  readonly log: Logger;
}

/** Learns from the region what the groups of claims are that this cell was not told, and forgets those that have no claims any more. */
export const keepGroups = async (db: Database, region: Caller<typeof regionContract>): Promise<void> => {
  await purgeGroups(db, placementGroupsPerTurnMax);
  const groupIds = await unknownGroups(db, placementGroupsPerTurnMax);
  if (groupIds.length === 0) return;
  const { groups } = await region.call('region.placementGroups', { groupIds });
  for (const group of groups) {
    const row = groupRowOf(group);
    if (row !== undefined) await knowGroup(db, row);
  }
};

export interface ClaimsCheck {
  /** Counters that were not the sums of claims; they have been computed anew. */
  readonly drifts: readonly Drift[];
  readonly misfits: readonly Misfit[];
}

/** Compares counters with claims and mends counters; finds what does not fit, and leaves it. */
export const checkClaims = async ({ db, log }: UpkeepOptions): Promise<ClaimsCheck> => {
  const drifts: Drift[] = [];
  for (const { host_id: hostId } of await driftsOf(db)) {
    // Again, under the host's lock: what was between two of its statements agrees by now.
    const drift = await db.transaction((tx) => recount(tx, hostId));
    if (drift === undefined) continue;
    drifts.push(drift);
    log.error(
      { host: hostId, counted: drift.counted, claimed: drift.claimed },
      'ALARM: a host’s counters were not the sums of its claims: computed anew',
    );
  }
  return { drifts, misfits: await misfitsOf(db, misfitsToldMax) };
};

export class ClaimsUpkeep {
  readonly #options: UpkeepOptions;
  #told = new Set<string>();

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  /** Releases what has run out, each in a transaction of its own: no two hosts are locked at once. */
  async sweep(): Promise<number> {
    const { db, log } = this.#options;
    const expired = await listExpired(db, claimsSweepMax);
    for (const { id, epoch } of expired) {
      await db.transaction((tx) => releaseClaim(tx, id, { epoch }));
      log.info({ claim: id }, 'a claim has run out: released');
    }
    return expired.length;
  }

  /** The periodic check: an alarm for each misfit, once while it lasts. */
  async check(): Promise<void> {
    const { misfits } = await checkClaims(this.#options);
    const now = new Set(misfits.map(({ kind, subject, host_id }) => `${kind} ${subject} ${host_id}`));
    for (const { kind, subject, host_id: host } of misfits)
      if (!this.#told.has(`${kind} ${subject} ${host}`))
        this.#options.log.error({ kind, subject, host }, 'ALARM: claims do not fit: pando capacity check');
    this.#told = now;
  }
}
