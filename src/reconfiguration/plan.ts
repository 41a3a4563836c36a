/** Which hosts change pools next (S5.1, S5.6): pure, so that the same picture gives the same plan on every processor. */
import { countPools, type Pool, type PoolCount, type PoolHost } from './pools.ts';

export interface PlanInput {
  readonly pools: readonly Pool[];
  readonly hosts: readonly PoolHost[];
  /** Hosts that a pool's waiting demand needs beyond those that it has, by pool. */
  readonly demand: ReadonlyMap<string, number>;
  /** Changes that may be under way at once, those that are included. */
  readonly concurrentMax: number;
}

export interface PoolChange {
  readonly hostId: string;
  readonly from?: string | undefined;
  readonly to: string;
  readonly why: string;
  /** VMs to move away first. */
  readonly vms: number;
}

export interface Unmet {
  readonly pool: string;
  readonly lacks: number;
  /** For people: what stands in the way. */
  readonly why: string;
}

export interface Plan {
  readonly changes: readonly PoolChange[];
  readonly unmet: readonly Unmet[];
}

/** Cheapest to empty first: nothing to move, then little memory to move, then few VMs. */
const byCost = (a: PoolHost, b: PoolHost): number =>
  Number(a.vms > 0) - Number(b.vms > 0) ||
  a.memoryMib - b.memoryMib ||
  a.vms - b.vms ||
  (a.hostId < b.hostId ? -1 : 1);

const isReady = (host: PoolHost): boolean =>
  host.serving && host.changingTo === undefined && host.restsMs <= 0 && host.stays === undefined;

/** Those for whom somebody waits before those under their low mark, and of each kind those that lack most. */
const byNeed =
  (demand: ReadonlyMap<string, number>) =>
  (a: PoolCount, b: PoolCount): number =>
    Number((demand.get(b.pool.name) ?? 0) > 0) - Number((demand.get(a.pool.name) ?? 0) > 0) ||
    b.lacks / Math.max(1, b.want) - a.lacks / Math.max(1, a.want) ||
    (a.pool.name < b.pool.name ? -1 : 1);

const whyNone = (counts: readonly PoolCount[], hosts: readonly PoolHost[], needy: PoolCount): string => {
  const mayGive = (host: PoolHost): boolean =>
    host.pool === undefined || counts.some((each) => each.pool.name === host.pool && each.spares > 0);
  const others = hosts.filter(
    (host) => host.pool !== needy.pool.name && host.changingTo === undefined && mayGive(host),
  );
  if (others.length === 0) return 'no pool has more hosts than its target';
  const { hostClass } = needy.pool;
  const fitting = others.filter((host) => hostClass === undefined || host.hostClass === hostClass);
  if (fitting.length === 0) return `no host to spare is of class ${hostClass}`;
  const serving = fitting.filter(({ serving }) => serving);
  if (serving.length === 0) return 'no host to spare serves';
  const stays = serving.find((host) => host.stays !== undefined);
  if (serving.some(({ restsMs, stays: why }) => restsMs > 0 && why === undefined))
    return 'hosts to spare rest since their last change';
  return stays === undefined
    ? 'as many changes as may be are under way'
    : `${stays.hostId} cannot be emptied: ${stays.stays}`;
};

/** Plans the changes that may begin now. No donor's pool goes under its target, and no host that rests or changes is touched. */
export const planChanges = ({ pools, hosts, demand, concurrentMax }: PlanInput): Plan => {
  const counts = countPools(pools, hosts, demand);
  const spares = new Map(counts.map(({ pool, spares: count }) => [pool.name, count]));
  const taken = new Set<string>();
  const changes: PoolChange[] = [];
  const unmet: Unmet[] = [];
  let room = concurrentMax - hosts.filter((host) => host.changingTo !== undefined).length;
  const candidates = hosts.filter(isReady).sort(byCost);
  for (const needy of counts.filter(({ lacks }) => lacks > 0).sort(byNeed(demand))) {
    const { pool } = needy;
    let lacks = needy.lacks;
    for (const host of candidates) {
      if (lacks === 0 || room <= 0) break;
      if (taken.has(host.hostId) || host.pool === pool.name) continue;
      if (pool.hostClass !== undefined && host.hostClass !== pool.hostClass) continue;
      const spare = host.pool === undefined ? 1 : (spares.get(host.pool) ?? 1);
      if (spare <= 0) continue;
      if (host.pool !== undefined) spares.set(host.pool, spare - 1);
      taken.add(host.hostId);
      const why = `${pool.name} has ${needy.have} of ${needy.want}`;
      changes.push({ hostId: host.hostId, from: host.pool, to: pool.name, why, vms: host.vms });
      lacks -= 1;
      room -= 1;
    }
    if (lacks > 0)
      unmet.push({
        pool: pool.name,
        lacks,
        why:
          room <= 0 && changes.length > 0
            ? 'as many changes as may be are under way'
            : whyNone(counts, hosts, needy),
      });
  }
  return { changes, unmet };
};
