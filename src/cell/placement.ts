/**
 * Where an instance goes. The host's row is the arbiter: capacity is tested and taken in one UPDATE under its lock, so two racing
 * placements cannot both have the last of it (I3), and placement has no side door.
 */
import { PandoError } from '#contracts/errors.ts';
import { hostSilenceMsMax } from './limits.ts';
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
}

const fits = `used_vcpus_milli + $1 <= limit_vcpus_milli and used_memory_mib + $2 <= limit_memory_mib
  and used_disk_mib + $3 <= capacity_disk_mib`;

const take = (lock: string): string => `
  update hosts set used_vcpus_milli = used_vcpus_milli + $1, used_memory_mib = used_memory_mib + $2,
    used_disk_mib = used_disk_mib + $3
  where id = (
    select id from hosts
    where state = 'active' and zone = $4 and ${fits} and heard_at > now() - make_interval(secs => $5)
      and ($6::text is null or id <> $6) and ($7::text is null or id = $7)
    order by ($8::text[] is not null and id <> all($8)), greatest(used_vcpus_milli::float8 / greatest(limit_vcpus_milli, 1),
                      used_memory_mib::float8 / greatest(limit_memory_mib, 1)), id
    limit 1 ${lock})
  returning id as "hostId", vtep`;

/** First a host that nobody else is placing on; if all that fit are taken just now, wait for one of them. */
const takeFree = take('for update skip locked');
const takeWaiting = take('for update');

export const insufficientCapacity = (): PandoError =>
  new PandoError(
    'InsufficientInstanceCapacity',
    'We currently do not have sufficient capacity in the Availability Zone you requested. Our system will be working on provisioning additional capacity. You can currently get capacity by not specifying an Availability Zone in your request or choosing another one.',
  );

/** Takes capacity on the least used host that fits (of those preferred, if one of them does), in the caller's transaction; `undefined`: none fits. */
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
  const [free] = await tx.query<Placed>(takeFree, values);
  if (free !== undefined) return free;
  const [waited] = await tx.query<Placed>(takeWaiting, values);
  return waited;
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
