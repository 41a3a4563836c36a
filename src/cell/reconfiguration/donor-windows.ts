/**
 * Event windows of the VMs on donors. A host is not begun with while one of its VMs is outside its account's window: it would stand half
 * empty, out of placement, until that opens. Other donors are looked for meanwhile.
 */
import { type Plan, type PlanInput, planChanges, type Unmet } from '#reconfiguration/plan.ts';
import type { PoolHost } from '#reconfiguration/pools.ts';
import { eventWindowsOf, waitWords } from '../event-windows.ts';
import { eventWindowHeardMs, eventWindowPatienceMs, windowedDonorsMax, windowedVmsMax } from '../limits.ts';
import type { CellServices } from '../services.ts';
import { markWindowsSince } from '../store/pools.ts';

interface Heard {
  readonly atMs: number;
  /** Undefined: all its VMs may be moved. */
  readonly why: string | undefined;
}

/** By these words a pool's reason is known for one that windows make. */
const windowWords = 'event window';
const heardMax = 10_000;

export class DonorWindows {
  readonly #services: CellServices;
  readonly #heard = new Map<string, Heard>();

  constructor(services: CellServices) {
    this.#services = services;
  }

  /** Plans around the hosts whose VMs may not be moved now; they are given with the reason. */
  async plan(input: PlanInput): Promise<Plan & { readonly hosts: readonly PoolHost[] }> {
    let hosts = input.hosts.map((host) => withReason(host, this.#fresh(host.hostId)?.why));
    let asked = 0;
    for (;;) {
      const plan = planChanges({ ...input, hosts });
      const unknown = plan.changes.filter(({ hostId, vms }) => vms > 0 && this.#fresh(hostId) === undefined);
      if (unknown.length === 0) return { ...plan, hosts };
      asked += unknown.length;
      if (asked > windowedDonorsMax) {
        // The others are asked for in the next turn.
        const known = plan.changes.filter((change) => !unknown.includes(change));
        return { changes: known, unmet: plan.unmet, hosts };
      }
      for (const { hostId } of unknown) await this.#ask(hostId);
      hosts = hosts.map((host) => withReason(host, this.#fresh(host.hostId)?.why));
    }
  }

  #fresh(hostId: string): Heard | undefined {
    const heard = this.#heard.get(hostId);
    const nowMs = this.#services.clock.monotonicMs();
    return heard !== undefined && nowMs - heard.atMs <= eventWindowHeardMs ? heard : undefined;
  }

  async #ask(hostId: string): Promise<void> {
    const { db, clock } = this.#services;
    const rows = await db.query<{ id: string }>(
      'select id from instances where host_id = $1 and terminated_at is null order by id limit $2',
      [hostId, windowedVmsMax],
    );
    const windows = await eventWindowsOf(
      this.#services,
      rows.map(({ id }) => id),
    );
    const closed = [...windows.values()].find(({ open }) => !open);
    if (this.#heard.size >= heardMax) this.#heard.clear();
    this.#heard.set(hostId, {
      atMs: clock.monotonicMs(),
      why: closed === undefined ? undefined : waitWords(closed),
    });
  }

  /** Remembers since when a pool has found no donor for windows, and tells an operator when that is too long. */
  async note(unmet: readonly Unmet[]): Promise<void> {
    const { db, log } = this.#services;
    const waiting = unmet.filter(({ why }) => why.includes(windowWords));
    const late = await markWindowsSince(
      db,
      waiting.map(({ pool }) => pool),
      eventWindowPatienceMs,
    );
    for (const pool of late)
      log.error(
        { alarm: 'pool-waits-for-windows', pool, reason: waiting.find((each) => each.pool === pool)?.why },
        'a pool has found no donor for days, since VMs wait for their event windows. pando host rebuild --ignore-windows takes one',
      );
  }
}

const withReason = (host: PoolHost, why: string | undefined): PoolHost =>
  host.stays !== undefined || why === undefined ? host : { ...host, stays: why };
