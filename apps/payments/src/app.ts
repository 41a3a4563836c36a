/** What the parts of the application share: the store, the clock, the policy, the carrier. */
import type { Background } from './base/background.ts';
import type { Clock } from './base/clock.ts';
import type { LocationVerifier } from './carrier/verification.ts';
import type { Policy } from './decision/policy.ts';
import type { LiveEvents } from './events/live.ts';
import type { NearbyIndex } from './location/nearby-index.ts';
import type { Pool, Queryable } from './store/pool.ts';
import type { Behind } from './store/transaction.ts';

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface App {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly policy: Policy;
  /** Absent: there is no carrier to ask. */
  readonly carrier?: LocationVerifier;
  readonly live: LiveEvents;
  /** Establishments by their registered position. */
  readonly places: NearbyIndex;
  readonly log: Log;
  readonly mode: 'demo' | 'live';
  /** A partner counts this long after being named. */
  readonly partnerRestMs: number;
  /** Work that nobody waits for, so that the end can. */
  readonly background: Background;
}

/** One database transaction on behalf of a request: everything that it writes happens at one moment of the clock. */
export interface Unit {
  readonly app: App;
  readonly on: Queryable;
  readonly nowMs: number;
  /** Takes the last writes of the unit, which nobody waits for before the COMMIT: see `Behind`. Called at most once, at the end. */
  readonly behind: Behind;
  /** Who has been told something: their streams are woken after the COMMIT. */
  readonly told: Set<string>;
  /** Work for after the COMMIT, that nobody waits for: what may be lost with the process, and made again. */
  readonly afterwards: ((unit: Unit) => Promise<void>)[];
}
