/**
 * Where an instance goes. The host's row is the arbiter: capacity is tested and taken in one UPDATE under its lock, so two racing
 * placements cannot both have the last of it (I3), and placement has no side door.
 */
import { startAgain } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import { hostSilenceMsMax, placeRoundsMax } from './limits.ts';
import type { Amount } from './store/hosts.ts';
import type { Sql } from './store/sql.ts';

export interface Placed {
  readonly hostId: string;
  readonly vtep: string;
}

export interface PlacementRequest {
  readonly amount: Amount;
  readonly zone: string;
  readonly excludeHostId?: string;
  /** Only this host will do. */
  readonly hostId?: string;
  /** Hosts that are taken before others: those that the asking processor reaches. */
  readonly prefer?: readonly string[];
  /** The caller's transaction has placed before: it holds locks of hosts, and must not wait for another's. */
  readonly again?: boolean;
}

const fits = `used_vcpus_milli + $1 <= limit_vcpus_milli and used_memory_mib + $2 <= limit_memory_mib
  and ($3 = 0 or used_disk_mib + $3 <= capacity_disk_mib)`;

const wanted = `state = 'active' and zone = $4 and ${fits}
  and ($6::text is null or id <> $6) and ($7::text is null or id = $7)`;

const candidates = `
  select id from hosts where ${wanted} and heard_at > now() - make_interval(secs => $5)
  order by ($8::text[] is not null and id <> all($8)),
           greatest(used_vcpus_milli::float8 / greatest(limit_vcpus_milli, 1),
                    used_memory_mib::float8 / greatest(limit_memory_mib, 1)), id
  limit 1`;

/** The host is locked first, on its own: a subquery of the UPDATE would be run again, and find nothing, when the row has changed. */
const take = (lock: string): string => `
  with chosen as materialized (${candidates} ${lock})
  update hosts set used_vcpus_milli = used_vcpus_milli + $1, used_memory_mib = used_memory_mib + $2,
    used_disk_mib = used_disk_mib + $3
  from chosen where hosts.id = chosen.id
  returning hosts.id as "hostId", vtep`;

/** First a host that nobody else is placing on; if all that fit are taken just now, wait for one of them. */
const takeFree = take('for update skip locked');
const takeWaiting = take('for update');

/** A host that only seems silent: no processor has been at the store long enough to have written whom it heard meanwhile. */
const unheard = `
  select 1 from hosts where ${wanted} and heard_at <= now() - make_interval(secs => $5)
    and not exists (select 1 from processors where lease_until > now() and steady_since <= now() - make_interval(secs => $5))
  limit 1`;

const comingBack = (): PandoError =>
  new PandoError(
    'Unavailable',
    'The cell is coming back and hears from its hosts just now. Retry your request.',
  );

export const insufficientCapacity = (): PandoError =>
  new PandoError(
    'InsufficientInstanceCapacity',
    'We currently do not have sufficient capacity in the Availability Zone you requested. Our system will be working on provisioning additional capacity. You can currently get capacity by not specifying an Availability Zone in your request or choosing another one.',
  );

/**
 * Takes capacity on the least used host that fits (of those preferred, if one of them does), in the caller's transaction; `undefined`: none
 * fits. A host that was waited for may
 * have been filled meanwhile, while others still have room: that is looked at again. A transaction that has locked a host before does
 * not wait for another (two that place several would wait for each other): it starts again from the beginning.
 */
export const place = async (tx: Sql, request: PlacementRequest): Promise<Placed | undefined> => {
  const { amount } = request;
  const values = [
    amount.vcpusMilli,
    amount.memoryMib,
    amount.diskMib,
    request.zone,
    hostSilenceMsMax / 1000,
    request.excludeHostId ?? null,
    request.hostId ?? null,
    request.prefer ?? null,
  ];
  for (let round = 1; round <= placeRoundsMax; round++) {
    const [free] = await tx.query<Placed>(takeFree, values);
    if (free !== undefined) return free;
    if ((await tx.query(candidates, values)).length === 0) {
      if ((await tx.query(unheard, values.slice(0, 7))).length > 0) throw comingBack();
      return undefined;
    }
    if (request.again) break;
    const [waited] = await tx.query<Placed>(takeWaiting, values);
    if (waited !== undefined) return waited;
  }
  throw startAgain('every host that fits is being placed on');
};

/** Takes capacity on one given host whatever its state but silence: for an instance whose disk lies there. */
export const placeOn = async (tx: Sql, hostId: string, amount: Amount): Promise<Placed | undefined> => {
  const [placed] = await tx.query<Placed>(
    `update hosts set used_vcpus_milli = used_vcpus_milli + $1, used_memory_mib = used_memory_mib + $2,
       used_disk_mib = used_disk_mib + $3
     where id = $4 and ${fits} returning id as "hostId", vtep`,
    [amount.vcpusMilli, amount.memoryMib, amount.diskMib, hostId],
  );
  return placed;
};
