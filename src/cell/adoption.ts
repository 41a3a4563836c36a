/**
 * When a processor may take over others' work. After a restart of everything its hosts have not dialled in yet: work that was taken
 * then would find them away. So it waits for those that were heard of lately, and no longer than the grace.
 */
import type { Clock } from './clock.ts';
import type { HostSessions } from './hosts/sessions.ts';
import { adoptionGraceMs, adoptionHeardMs } from './limits.ts';
import { listHeardHosts } from './store/hosts.ts';
import type { Sql } from './store/sql.ts';

export interface AdoptionOptions {
  readonly db: Sql;
  readonly hosts: HostSessions;
  readonly clock: Clock;
  readonly graceMs?: number;
}

export class AdoptionGate {
  readonly #options: AdoptionOptions;
  readonly #untilMs: number;
  /** Hosts that have not dialled in yet. */
  #missing: ReadonlySet<string>;

  private constructor(options: AdoptionOptions, missing: ReadonlySet<string>) {
    this.#options = options;
    this.#missing = missing;
    this.#untilMs = options.clock.monotonicMs() + (options.graceMs ?? adoptionGraceMs);
  }

  static async open(options: AdoptionOptions): Promise<AdoptionGate> {
    return new AdoptionGate(options, new Set(await listHeardHosts(options.db, adoptionHeardMs)));
  }

  /** Whether the hosts are there, or the grace is over. Once open it stays open: a host that goes away later closes nothing. */
  get open(): boolean {
    if (this.#missing.size === 0) return true;
    const { hosts, clock } = this.#options;
    const missing = [...this.#missing].filter((hostId) => !hosts.has(hostId));
    this.#missing = clock.monotonicMs() >= this.#untilMs ? new Set() : new Set(missing);
    return this.#missing.size === 0;
  }
}
