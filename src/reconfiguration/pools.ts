/** Pools of hosts by slot type (S5.1): what a pool is, whether its marks make sense, and how many hosts each lacks or can spare. */

/** How a host's capacity is cut. */
export interface SlotLayout {
  /** Factors over what the machine has; 1: no more than that. Absent: the cell's own. */
  readonly vcpuOversubscription?: number | undefined;
  readonly memoryOversubscription?: number | undefined;
  /** Instance types whose slots the pool's hosts give; absent: all. */
  readonly types?: readonly string[] | undefined;
}

export interface Pool {
  readonly name: string;
  /** The type whose demand the pool meets. */
  readonly slotType: string;
  /** Only hosts of this class can join it; absent: any. */
  readonly hostClass?: string | undefined;
  /** Hosts. Under `low` the pool asks for hosts until it has `target`; above `target` it gives. */
  readonly low: number;
  readonly target: number;
  readonly layout: SlotLayout;
}

export const poolsMax = 64;
export const poolHostsMax = 10_000;
export const vcpuOversubscriptionMax = 20;
export const memoryOversubscriptionMax = 20;
const poolName = /^[a-z][a-z0-9-]{0,31}$/;

const isMark = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= poolHostsMax;

/** What is wrong with a pool, for people; empty: nothing. */
export const faultsOf = (pool: Pool): readonly string[] => {
  const faults: string[] = [];
  if (!poolName.test(pool.name))
    faults.push('a name is a letter, then letters, digits and dashes, 32 at most, all lower case');
  for (const mark of ['low', 'target'] as const)
    if (!isMark(pool[mark])) faults.push(`${mark} is a whole number of hosts from 0 to ${poolHostsMax}`);
  if (pool.low > pool.target)
    faults.push(
      `low (${pool.low}) is above target (${pool.target}): the pool would ask for hosts without end`,
    );
  const { vcpuOversubscription: vcpus = 1, memoryOversubscription: memory = 1, types } = pool.layout;
  if (!(vcpus >= 1 && vcpus <= vcpuOversubscriptionMax))
    faults.push(`vCPU oversubscription is from 1 to ${vcpuOversubscriptionMax}`);
  if (!(memory >= 1 && memory <= memoryOversubscriptionMax))
    faults.push(`memory oversubscription is from 1 to ${memoryOversubscriptionMax}`);
  if (types !== undefined && !types.includes(pool.slotType))
    faults.push(`its layout does not give ${pool.slotType}, which the pool is for`);
  return faults;
};

/** A pool's host, as the planner sees it. */
export interface PoolHost {
  readonly hostId: string;
  readonly hostClass: string;
  /** Absent: in no pool. Such a host is anybody's. */
  readonly pool?: string | undefined;
  /** It serves. A host that is silent, drained by hand or out of service is neither a donor nor counted. */
  readonly serving: boolean;
  /** The pool that a change under way takes it to. */
  readonly changingTo?: string | undefined;
  /** Milliseconds until it may be changed again; 0: now. */
  readonly restsMs: number;
  readonly vms: number;
  /** What its VMs would send over the network when they migrate away. */
  readonly memoryMib: number;
  /** Why it cannot be emptied by migration (a stopped instance's disk lies there, no room elsewhere); absent: it can. */
  readonly stays?: string | undefined;
}

export interface PoolCount {
  readonly pool: Pool;
  /** Hosts that it has or is about to have. */
  readonly have: number;
  /** Hosts that it should have, what is asked for included. */
  readonly want: number;
  readonly lacks: number;
  readonly spares: number;
}

/** What pools have, lack and can spare. `demand`: hosts that a pool's waiting demand needs beyond those that it has. */
export const countPools = (
  pools: readonly Pool[],
  hosts: readonly PoolHost[],
  demand: ReadonlyMap<string, number>,
): readonly PoolCount[] =>
  pools.map((pool) => {
    const have = hosts.filter((host) =>
      host.changingTo === undefined ? host.serving && host.pool === pool.name : host.changingTo === pool.name,
    ).length;
    const asked = Math.max(0, Math.min(poolHostsMax, demand.get(pool.name) ?? 0));
    const marked = have < pool.low ? pool.target : have;
    const want = Math.max(marked, have + asked);
    // Who is asked for something gives nothing, whatever its marks say.
    const spares = asked > 0 ? 0 : Math.max(0, have - pool.target);
    return { pool, have, want, lacks: want - have, spares };
  });
