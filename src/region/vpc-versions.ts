/**
 * Versions of VPCs never go back, also when the store does: a failover may have lost commits, a backup may have been restored. Devices keep
 * what has the highest version, so a change under a version that they have of the lost history would be acknowledged and not enforced.
 * Whoever has proof of that raises the version above all that is known, and the content of now is told under it.
 *
 * Proof is of three kinds: a version below one that was read before; the same version with another content, both of one snapshot; a device
 * that has a later version than the row has after the device's answer, since versions are told after their commit.
 */
import { sql } from 'kysely';
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import type { VpcState } from '#contracts/network.ts';
import type { Database } from './schema.ts';
import type { VpcPartsCache } from './vpc-parts.ts';

/** VPCs whose version is remembered; some 150 bytes each. */
const versionsKeptMax = 100_000;
/** A device that claims to be further ahead of the row is not believed: versions are not used up by one that lies. */
const leapMax = 1_000_000;
/** What a device has: a later version, or this very one with other places. */
export type DeviceProof = 'further' | 'other';
/** On devices' words a VPC's version is raised so many times within the window: two that disagree for another reason do not chase each other. */
const actsMax = { further: 8, other: 1, 'beyond-belief': 1 } as const;
const actsWindowMs = 600_000;

interface Compiled {
  readonly state: VpcState;
  /** Of the groups' rules, as of the state's version. */
  readonly revisions: string;
}

interface Seen {
  readonly version: number;
  readonly revisions: string;
}

interface VpcVersionsOptions {
  readonly db: Database;
  readonly log: Logger;
  readonly parts: Pick<VpcPartsCache, 'isOther' | 'forget'>;
  /** What devices were told of this VPC counts no more. */
  forgetTold(vpcId: string): void;
  /** Devices are to be told anew. */
  wake(vpcId: string): void;
}

export class VpcVersions {
  readonly #options: VpcVersionsOptions;
  /** The highest that this process has read of each; the one read last comes last. */
  readonly #seen = new Map<string, Seen>();
  /** When something was done on devices' words, by kind and VPC. */
  readonly #actedAtMs = new Map<string, readonly number[]>();

  constructor(options: VpcVersionsOptions) {
    this.#options = options;
  }

  /**
   * Reads a VPC; where the store has gone back, its version is raised and it is read again. Of one VPC one at a time. Where the raise
   * fails, devices are told anew all the same, and the next reading tries again.
   */
  async read<T extends Compiled>(vpcId: string, read: () => Promise<T | undefined>): Promise<T | undefined> {
    const seen = this.#seen.get(vpcId);
    const compiled = await read();
    if (compiled === undefined) {
      this.#seen.delete(vpcId);
      return undefined;
    }
    if (!this.#isLost(compiled, seen)) return this.#note(compiled);
    const { version } = compiled.state;
    const above = Math.max(version, seen?.version ?? 0);
    this.#forget(vpcId);
    // What was read now is no other content the next time: until it is raised, this proof stays.
    this.#keep(vpcId, { version: above, revisions: '' });
    if ((await this.#raise(vpcId, { above, below: Math.max(above, version + 1) })) === 'failed')
      return compiled;
    const now = await read();
    return now === undefined ? undefined : this.#note(now);
  }

  /**
   * A device has answered. Resolves with whether what it has is of a lost history: it is told anew, under a higher version where that is
   * still to be raised.
   */
  async isLost(vpcId: string, version: number, proof: DeviceProof): Promise<boolean> {
    if (!this.#mayAct(vpcId, proof)) return proof === 'further' && (await this.#isBelow(vpcId, version));
    if (proof === 'further' && (await this.#isBeyondBelief(vpcId, version))) return true;
    const below = proof === 'further' ? version : version + 1;
    const outcome = await this.#raise(vpcId, { above: version, below });
    if (outcome === 'unchanged') return false;
    this.#forget(vpcId);
    if (outcome === 'raised') {
      this.#acted(vpcId, proof);
      this.#options.wake(vpcId);
    }
    return true;
  }

  #mayAct(vpcId: string, proof: keyof typeof actsMax): boolean {
    const since = monotonicMs() - actsWindowMs;
    const key = `${proof} ${vpcId}`;
    return (this.#actedAtMs.get(key) ?? []).filter((atMs) => atMs >= since).length < actsMax[proof];
  }

  #acted(vpcId: string, proof: keyof typeof actsMax): void {
    const now = monotonicMs();
    const since = now - actsWindowMs;
    for (const [each, atMs] of this.#actedAtMs) if ((atMs.at(-1) ?? 0) < since) this.#actedAtMs.delete(each);
    const key = `${proof} ${vpcId}`;
    this.#actedAtMs.set(key, [...(this.#actedAtMs.get(key) ?? []), now].slice(-actsMax[proof]));
  }

  /** Told to an operator: such a device does not take what it is told. */
  async #isBeyondBelief(vpcId: string, version: number): Promise<boolean> {
    if (!(await this.#isBelow(vpcId, version - leapMax))) return false;
    if (this.#mayAct(vpcId, 'beyond-belief')) {
      this.#acted(vpcId, 'beyond-belief');
      this.#options.log.error(
        { alarm: 'network-versions-beyond-belief', vpcId, version },
        'a device says that it has a version of a VPC that is far beyond the store’s: it is not believed',
      );
    }
    return true;
  }

  /** As the row is now. */
  async #isBelow(vpcId: string, version: number): Promise<boolean> {
    const { rows } = await sql`
      select 1 from vpc where vpc_id = ${vpcId} and version < ${version}::bigint`.execute(this.#options.db);
    return rows.length > 0;
  }

  #isLost({ state, revisions }: Compiled, seen: Seen | undefined): boolean {
    if (seen !== undefined && state.version < seen.version) return true;
    if (seen?.version === state.version && seen.revisions !== revisions) return true;
    return this.#options.parts.isOther(state);
  }

  #note<T extends Compiled>(compiled: T): T {
    const { state, revisions } = compiled;
    const { vpcId, version } = state;
    if (version >= (this.#seen.get(vpcId)?.version ?? 0)) this.#keep(vpcId, { version, revisions });
    return compiled;
  }

  #keep(vpcId: string, seen: Seen): void {
    this.#seen.delete(vpcId);
    this.#seen.set(vpcId, seen);
    for (const oldest of this.#seen.keys()) {
      if (this.#seen.size <= versionsKeptMax) break;
      this.#seen.delete(oldest);
    }
  }

  /** One statement, which sees the row as it is now: of several processes with the same proof one raises. */
  async #raise(
    vpcId: string,
    { above, below }: { readonly above: number; readonly below: number },
  ): Promise<'raised' | 'unchanged' | 'failed'> {
    const { db, log } = this.#options;
    try {
      const { rows } = await sql`
        update vpc set version = ${above}::bigint + 1
        where vpc_id = ${vpcId} and version < ${below}::bigint returning 1`.execute(db);
      if (rows.length === 0) return 'unchanged';
    } catch (err) {
      log.warn(
        { err, vpcId, above },
        'a version that went back could not be raised: the next push tries again',
      );
      return 'failed';
    }
    log.error(
      { alarm: 'network-versions-lost', vpcId, version: above + 1 },
      'the store has lost changes of a VPC that devices have: they are told what the store has now',
    );
    return 'raised';
  }

  /** What was compiled and told under those versions is not what is now. */
  #forget(vpcId: string): void {
    this.#options.parts.forget(vpcId);
    this.#options.forgetTold(vpcId);
  }
}
