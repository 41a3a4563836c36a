/**
 * Pools at work: looks at what they have and at what is asked for, and begins the changes that src/reconfiguration plans. Every processor
 * does; the lock of the pool's row arbitrates.
 */
import { PandoError } from '#contracts/errors.ts';
import type { PoolChange, Unmet } from '#reconfiguration/plan.ts';
import { countPools, type Pool, type PoolCount, type PoolHost } from '#reconfiguration/pools.ts';
import { type Amount, clamped, countOf } from '#slots/amount.ts';
import { sizeOf } from '../instance-types.ts';
import type { Begun } from '../lifecycle.ts';
import { hostSilenceMsMax, poolDemandMs, rebuildsAtOnceMax } from '../limits.ts';
import type { CellServices } from '../services.ts';
import { type HostRow, heardWithin } from '../store/hosts.ts';
import { listPools } from '../store/pools.ts';
import type { Sql } from '../store/sql.ts';
import { beginRebuild, outlookToBegin } from './begin.ts';
import { DonorWindows } from './donor-windows.ts';
import { hostClassOf } from './facts.ts';
import { type Leaving, type Room, withoutRoom } from './room.ts';

export interface PoolTimes {
  readonly atOnceMax: number;
  readonly demandMs: number;
}

export interface PoolsOptions extends Partial<PoolTimes> {
  readonly services: CellServices;
  readonly owner: string;
  begun(begun: Begun): void;
}

/** What pools are and lack, and what is going to be done about it. */
export interface PoolsView {
  readonly counts: readonly PoolCount[];
  readonly demand: ReadonlyMap<string, number>;
  readonly changes: readonly PoolChange[];
  readonly unmet: readonly Unmet[];
  readonly hosts: readonly PoolHost[];
}

interface Asked {
  readonly count: number;
  readonly atMs: number;
}

interface HostPicture extends HostRow {
  readonly heard: boolean;
  readonly changing_to: string | null;
  readonly rests_ms: number;
  readonly vms: number;
  readonly memory_mib: number;
  readonly stopped: string | null;
  /** The dedicated host that it is. */
  readonly allocated: string | null;
  /** Who has room kept there: an offer, a reservation. */
  readonly kept_for: string | null;
  readonly quarantined: string | null;
  readonly leaving: readonly Leaving[];
}

interface LeavingRow {
  readonly host_id: string;
  readonly type: string;
  readonly vcpus_milli: number;
  readonly memory_mib: number;
  readonly network_mbps: number;
  readonly n: number;
}

const picture = async (sql: Sql): Promise<HostPicture[]> => {
  const rows = await readHosts(sql);
  const leaving = Map.groupBy(await readLeaving(sql), ({ host_id: id }) => id);
  return rows.map((row) => ({ ...row, leaving: (leaving.get(row.id) ?? []).map(leavingOf) }));
};

const leavingOf = ({ type, n, ...row }: LeavingRow): Leaving => {
  const { vcpus_milli: vcpusMilli, memory_mib: memoryMib, network_mbps: networkMbps } = row;
  return { type, count: n, amount: { vcpusMilli, memoryMib, networkMbps, diskMib: 0 } };
};

/** What would have to move away from each host. */
const readLeaving = (sql: Sql): Promise<LeavingRow[]> =>
  sql.query<LeavingRow>(
    `select host_id, coalesce(type, '') as type, vcpus_milli, memory_mib, network_mbps, count(*)::int as n
     from claims where purpose in ('instance', 'migration') and memory_mib > 0 group by 1, 2, 3, 4, 5`,
  );

const readHosts = (sql: Sql): Promise<Omit<HostPicture, 'leaving'>[]> =>
  sql.query<Omit<HostPicture, 'leaving'>>(
    `select h.*, ${heardWithin('$1', 'h')} as heard,
       case when h.phase = 'rebuilding' then coalesce(w.input->'pool'->>'name', h.pool, '') end as changing_to,
       greatest(0, coalesce(extract(epoch from h.rests_until - now()), 0) * 1000)::float8 as rests_ms,
       (select count(*)::int from claims c where c.host_id = h.id and c.purpose in ('instance', 'migration') and c.memory_mib > 0) as vms,
       (select coalesce(sum(c.memory_mib), 0)::bigint from claims c where c.host_id = h.id and c.purpose in ('instance', 'migration'))
         as memory_mib,
       (select min(i.id) from instances i where i.host_id = h.id and i.terminated_at is null and i.state = 'stopped') as stopped,
       (select min(c.holder) from claims c where c.host_id = h.id and c.purpose = 'dedicated-host') as allocated,
       (select min(c.holder) from claims c where c.host_id = h.id and c.purpose in ('notice', 'reservation')) as kept_for,
       (select min(q.instance_id) from quarantined_vms q where q.host_id = h.id) as quarantined
     from hosts h left join workflows w on w.id = h.rebuild_id order by h.id`,
    [hostSilenceMsMax / 1000],
  );

export class Pools {
  readonly #options: PoolsOptions;
  readonly #pending = new Map<string, Asked>();
  readonly #refused = new Map<string, Asked>();

  readonly #windows: DonorWindows;

  constructor(options: PoolsOptions) {
    this.#options = options;
    this.#windows = new DonorWindows(options.services);
    options.services.capacity.onRefused = (type, count) => this.refused(type, count);
  }

  /**
   * How many instances of a type are waited for just now: 0 when nobody waits any more. Counts until it is told again, for a minute at
   * most. Slots follow as well (S10.6). @throws InvalidParameterValue for a type that does not exist
   */
  demand(type: string, count: number): void {
    const amount = sizeOf(type);
    this.#options.services.capacity.demand.setPending(type, { ...amount, diskMib: 0 }, count);
    this.#put(this.#pending, type, count);
  }

  /** Launches of a type found no place. */
  refused(type: string, count: number): void {
    this.#put(this.#refused, type, Math.max(count, this.#fresh(this.#refused, type)));
  }

  #put(book: Map<string, Asked>, type: string, count: number): void {
    book.delete(type);
    if (count > 0) book.set(type, { count, atMs: this.#nowMs });
    const [oldest] = book.keys();
    if (book.size > typesMax && oldest !== undefined) book.delete(oldest);
  }

  #fresh(book: ReadonlyMap<string, Asked>, type: string): number {
    const asked = book.get(type);
    if (asked === undefined || this.#nowMs - asked.atMs > (this.#options.demandMs ?? poolDemandMs)) return 0;
    return asked.count;
  }

  get #nowMs(): number {
    return this.#options.services.clock.monotonicMs();
  }

  /** Hosts that each pool's waiting demand needs beyond the room that there is. */
  #demandOf(pools: readonly Pool[], rows: readonly HostPicture[]): Map<string, number> {
    const demand = new Map<string, number>();
    for (const pool of pools) {
      const asked = Math.max(
        this.#fresh(this.#pending, pool.slotType),
        this.#fresh(this.#refused, pool.slotType),
      );
      if (asked === 0) continue;
      const coming = rows.filter((row) => row.changing_to === pool.name).length;
      const each = this.#slotsOfHost(pool, rows);
      const missing = asked - this.#freeSlots(pool);
      const hosts = each === 0 ? 0 : Math.ceil(missing / each) - coming;
      if (hosts > 0) demand.set(pool.name, hosts);
    }
    return demand;
  }

  #freeSlots({ slotType }: Pool): number {
    const { slots } = this.#options.services.capacity.view;
    const amount = { ...sizeOf(slotType), diskMib: 0 };
    return slots
      .hosts()
      .filter(({ open, hostId }) => open && this.#options.services.capacity.takes(hostId, slotType))
      .reduce((sum, { hostId }) => sum + slotsIn(slots.free(hostId), amount), 0);
  }

  /** What an empty host gives, by the layout of the pool: of those that there are, the smallest. */
  #slotsOfHost({ slotType, layout, hostClass }: Pool, rows: readonly HostPicture[]): number {
    const { oversubscription } = this.#options.services;
    const amount = { ...sizeOf(slotType), diskMib: 0 };
    const fitting = rows
      .filter((row) => hostClass === undefined || hostClassOf(row) === hostClass)
      .map((row) =>
        slotsIn(
          {
            vcpusMilli: row.capacity_vcpus_milli * (layout.vcpuOversubscription ?? oversubscription.vcpus),
            memoryMib: row.capacity_memory_mib * (layout.memoryOversubscription ?? oversubscription.memory),
            diskMib: row.capacity_disk_mib,
            networkMbps: row.capacity_network_mbps ?? Number.POSITIVE_INFINITY,
          },
          amount,
        ),
      )
      .filter((count) => count > 0);
    return fitting.length === 0 ? 0 : Math.min(...fitting);
  }

  /** What there is and what would be done, without doing it. */
  async view(): Promise<PoolsView> {
    const { db, hosts } = this.#options.services;
    const pools = await listPools(db);
    const rows = await picture(db);
    const seen = rows.map((row): PoolHost => {
      const stays = whyItStays(row, rows);
      return {
        ...{ hostId: row.id, hostClass: hostClassOf(row), pool: row.pool ?? undefined, vms: row.vms },
        serving: row.state === 'active' && row.heard && hosts.has(row.id),
        ...{ restsMs: row.rests_ms, memoryMib: row.memory_mib, changingTo: row.changing_to ?? undefined },
        ...(stays === undefined ? {} : { stays }),
      };
    });
    const demand = this.#demandOf(pools, rows);
    const concurrentMax = this.#options.atOnceMax ?? rebuildsAtOnceMax;
    const plan = await this.#windows.plan({ pools, hosts: seen, demand, concurrentMax });
    return { counts: countPools(pools, plan.hosts, demand), demand, ...plan };
  }

  /** Begins what may begin now. */
  async turn(): Promise<void> {
    const { changes, unmet } = await this.view();
    await this.#windows.note(unmet);
    if (changes.length === 0) return;
    const pools = new Map((await listPools(this.#options.services.db)).map((pool) => [pool.name, pool]));
    for (const change of changes) {
      const pool = pools.get(change.to);
      if (pool !== undefined) await this.#begin(change, pool);
    }
  }

  async #begin({ hostId, why, from }: PoolChange, pool: Pool): Promise<void> {
    const { services, owner, begun } = this.#options;
    try {
      const outlook = await outlookToBegin(services, hostId, pool, false);
      const workflow = await beginRebuild({ services, owner }, outlook, {
        ...{ pool, reason: why, whileOpen: true },
        check: (tx) => this.#assertRoom(tx, hostId, from),
      });
      begun({ changes: [], workflows: [workflow], cancelled: [] });
      services.log.info(
        { host: hostId, pool: pool.name, reason: why, workflow: workflow.id },
        'a host changes its pool',
      );
    } catch (error) {
      const { code } = PandoError.from(error);
      // Another processor was faster, or the host is away just now: the next turn looks again.
      if (code !== 'IncorrectState' && code !== 'HostUnreachable' && code !== 'DeadlineExceeded') throw error;
    }
  }

  /** By the store, under the lock of all pools: two processors that plan alike begin together no more than may be. */
  async #assertRoom(tx: Sql, hostId: string, from: string | undefined): Promise<void> {
    await tx.query('select 1 from pools order by name for update');
    const [now] = await tx.query<{ n: number; pool: string | null; state: string }>(
      `select (select count(*)::int from hosts where phase = 'rebuilding') as n, pool, state from hosts where id = $1`,
      [hostId],
    );
    const atOnceMax = this.#options.atOnceMax ?? rebuildsAtOnceMax;
    if (now === undefined || now.n >= atOnceMax || (now.pool ?? undefined) !== from || now.state !== 'active')
      throw new PandoError('IncorrectState', 'Another change began first.');
  }
}

const typesMax = 64;

const slotsIn = (free: Amount | undefined, amount: Amount): number =>
  free === undefined ? 0 : countOf(free, amount);

/** Why a host cannot be emptied by migration. */
const whyItStays = (row: HostPicture, all: readonly HostPicture[]): string | undefined => {
  if (row.allocated !== null) return `it is allocated as the Dedicated Host ${row.allocated}`;
  if (row.stopped !== null) return `${row.stopped} is stopped there, and has its disk`;
  if (row.kept_for !== null) return `room is kept there for ${row.kept_for}`;
  if (row.quarantined !== null) return `${row.quarantined} is in quarantine there`;
  if (row.leaving.length === 0) return undefined;
  const others = all.filter(
    (other) =>
      other.id !== row.id && other.state === 'active' && other.heard && other.accelerator === row.accelerator,
  );
  const type = withoutRoom(row.leaving, others.map(roomOf));
  return type === undefined ? undefined : `its VMs find no room elsewhere (${type})`;
};

const roomOf = (row: HostPicture): Room => ({
  types: row.slot_types,
  free: clamped({
    vcpusMilli: row.limit_vcpus_milli - row.used_vcpus_milli,
    memoryMib: row.limit_memory_mib - row.used_memory_mib,
    diskMib: 0,
    networkMbps: (row.limit_network_mbps ?? Number.POSITIVE_INFINITY) - row.used_network_mbps,
  }),
});
