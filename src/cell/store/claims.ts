/**
 * Claims: what is taken of hosts, one row for each thing that takes. A host's row arbitrates: a claim is tested against its counters and
 * written in one statement under its lock, so of two racing claims for the last room exactly one is made (I3). Counters are a cache of
 * the claims' sums, and only this file writes them.
 *
 * Callers hold the row lock of what a claim is for (an instance, a host), so a claim has one writer at a time.
 */

import type { Amount } from '#slots/amount.ts';
import { hostSilenceMsMax } from '../limits.ts';
import { type AmountColumns, amountOf, heardWithin, lockHosts } from './hosts.ts';
import type { Sql } from './sql.ts';

/**
 * `instance`: all of a running one, the disk of a stopped one. `migration`: the other host of a move, the target before the switch and
 * the source after it. `notice`: capacity that a client was told of. `reserve`: what a host keeps for itself. `reservation`: a free
 * slot of a capacity reservation. `dedicated-host`: the machine of a dedicated host, so that it is nobody else's.
 */
export const claimPurposes = [
  'instance',
  'migration',
  'notice',
  'reserve',
  'reservation',
  'dedicated-host',
] as const;
export type ClaimPurpose = (typeof claimPurposes)[number];

export interface ClaimRow extends AmountColumns {
  readonly id: string;
  readonly host_id: string;
  readonly purpose: ClaimPurpose;
  /** What it is for: an instance's id, a request's, a host's. */
  readonly holder: string;
  /** The instance type, where it is for an instance. */
  readonly type: string | null;
  /** Grows with each change: compare-and-set for who read it. */
  readonly epoch: number;
  readonly expires_at: Date | null;
  /** Whose it is; null: nobody's that a dedicated host would be shared with. */
  readonly account_id: string | null;
  readonly group_id: string | null;
  readonly group_partition: number | null;
  readonly dedicated: boolean;
}

export interface NewClaim {
  readonly purpose: ClaimPurpose;
  readonly holder: string;
  /** Of several claims of one holder for one purpose. */
  readonly part?: number;
  /** The instance type. */
  readonly type?: string;
  readonly amount: Amount;
  readonly expiresAt?: Date;
  readonly accountId?: string;
  /** The placement group that it is a member of. Who claims anew holds the group's lock (placement-groups.ts). */
  readonly group?: { readonly groupId: string; readonly partition?: number };
  /** Only this account's claims may be on the host. */
  readonly dedicated?: boolean;
  /** What the host must be able to do. */
  readonly capabilities?: readonly string[];
}

export const claimIdOf = (purpose: ClaimPurpose, holder: string, part?: number): string =>
  part === undefined ? `${purpose}/${holder}` : `${purpose}/${holder}/${part}`;

/** A host after a claim was made or released, as the transaction sees it. */
export interface HostCounters {
  readonly id: string;
  readonly vtep: string;
  readonly epoch: number;
  readonly used_vcpus_milli: number;
  readonly used_memory_mib: number;
  readonly used_disk_mib: number;
  readonly used_network_mbps: number;
}

const counters = `hosts.id, hosts.vtep, hosts.epoch, hosts.used_vcpus_milli, hosts.used_memory_mib, hosts.used_disk_mib,
  hosts.used_network_mbps`;

/** Whether `more` (a row of four amounts) fits; what is not asked for need not fit, so a full disk does not keep a guest from memory. */
const fits = (more: string): string => `
  (${more}.vcpus <= 0 or used_vcpus_milli + ${more}.vcpus <= limit_vcpus_milli)
  and (${more}.memory <= 0 or used_memory_mib + ${more}.memory <= limit_memory_mib)
  and (${more}.disk <= 0 or used_disk_mib + ${more}.disk <= capacity_disk_mib)
  and (${more}.network <= 0 or limit_network_mbps is null or used_network_mbps + ${more}.network <= limit_network_mbps)`;

const add = (more: string): string => `
  used_vcpus_milli = used_vcpus_milli + ${more}.vcpus, used_memory_mib = used_memory_mib + ${more}.memory,
  used_disk_mib = used_disk_mib + ${more}.disk, used_network_mbps = used_network_mbps + ${more}.network`;

const columns = `id, host_id, purpose, holder, type, vcpus_milli, memory_mib, disk_mib, network_mbps, expires_at,
  account_id, group_id, group_partition, dedicated`;

const amountValues = (amount: Amount): number[] => [
  amount.vcpusMilli,
  amount.memoryMib,
  amount.diskMib,
  amount.networkMbps,
];

const asked = 'select $1::bigint as vcpus, $2::bigint as memory, $3::bigint as disk, $4::bigint as network';

/**
 * Whether a host will do beside having room. Of columns of its own alone: these are looked at again once its lock is had, what a
 * subquery has read is not.
 */
const willDo = `state = 'active' and zone = $6 and ${heardWithin('$7')}
  and (dedicated_to is null or dedicated_to = $13) and capabilities @> $17::text[]`;

/** Nobody else's claim is on it, but for its own reserve. */
const alone = `not exists (
  select 1 from claims c where c.host_id = hosts.id and c.purpose <> 'reserve' and c.account_id is distinct from $13)`;

const chosen = (lock: string, more = ''): string => `
  select hosts.id from unnest($5::text[]) with ordinality as wanted (id, at) join hosts using (id), asked
  where ${willDo} and ${fits('asked')} ${more}
  order by wanted.at limit 1 for update of hosts ${lock}`;

const dedicate = (sign: '+' | '-', claim: string): string =>
  `dedicated_claims = dedicated_claims ${sign} ${claim}.dedicated::int`;

/** The host is locked first, on its own: a subquery of the UPDATE would be run again, and find nothing, when the row has changed. */
const take = (lock: string, more = ''): string => `
  with asked as materialized (${asked}, $16::boolean as dedicated),
  chosen as materialized (${chosen(lock, more)}),
  host as (
    update hosts set ${add('asked')}, ${dedicate('+', 'asked')},
      dedicated_to = case when asked.dedicated then $13 else dedicated_to end
    from chosen, asked where hosts.id = chosen.id returning ${counters}),
  made as (
    insert into claims (${columns})
    select $8, host.id, $9, $10, $11, asked.vcpus, asked.memory, asked.disk, asked.network, $12, $13, $14, $15, asked.dedicated
    from host, asked)
  select * from host`;

const takeFree = take('skip locked');
const takeWaiting = take('');
/**
 * For a dedicated claim: the host is locked by a statement of its own, so that the next one sees every claim that was made there before.
 * It names all parameters, as both are given the same.
 */
const lockAlone = (lock: string): string => `
  with asked as materialized (${asked}, $8::text as id, $9::text as purpose, $10::text as holder, $11::text as type,
    $12::timestamptz as expires_at, $14::text as group_id, $15::int as part, $16::boolean as dedicated)
  ${chosen(lock, `and ${alone}`)}`;
const lockAloneFree = lockAlone('skip locked');
const lockAloneWaiting = lockAlone('');
const takeAlone = take('', `and ${alone}`);

/**
 * Makes a claim on the first of `candidates` that is active, in the zone, was heard lately and has room; `undefined` where none of them
 * is so. `free`: passes over hosts that another transaction is claiming on, so it waits for nobody.
 */
export const takeClaim = async (
  tx: Sql,
  claim: NewClaim,
  at: { readonly candidates: readonly string[]; readonly zone: string; readonly wait: 'free' | 'any' },
): Promise<HostCounters | undefined> => {
  const values = (candidates: readonly string[]): unknown[] => [
    ...amountValues(claim.amount),
    candidates,
    at.zone,
    hostSilenceMsMax / 1000,
    ...ownValues(claim),
    claim.capabilities ?? [],
  ];
  if (claim.dedicated === true) {
    const [host] = await tx.query<{ id: string }>(
      at.wait === 'free' ? lockAloneFree : lockAloneWaiting,
      values(at.candidates),
    );
    return host && (await tx.query<HostCounters>(takeAlone, values([host.id])))[0];
  }
  return (
    await tx.query<HostCounters>(at.wait === 'free' ? takeFree : takeWaiting, values(at.candidates))
  )[0];
};

/** What a claim is, beside its host and amount; the same in every statement, from $8 or $6 on. */
const ownValues = (claim: NewClaim): unknown[] => [
  claimIdOf(claim.purpose, claim.holder, claim.part),
  claim.purpose,
  claim.holder,
  claim.type ?? null,
  claim.expiresAt ?? null,
  claim.accountId ?? null,
  claim.group?.groupId ?? null,
  claim.group?.partition ?? null,
  claim.dedicated ?? false,
];

const resize = `
  with former as materialized (select * from claims where id = $6 and host_id = $5),
  asked as materialized (${asked}),
  more as materialized (
    select vcpus - coalesce(vcpus_milli, 0) as vcpus, memory - coalesce(memory_mib, 0) as memory,
      disk - coalesce(disk_mib, 0) as disk, network - coalesce(network_mbps, 0) as network,
      $14::boolean::int - coalesce(former.dedicated, false)::int as dedicated_more
    from asked left join former on true),
  host as (
    update hosts set ${add('more')}, dedicated_claims = dedicated_claims + more.dedicated_more,
      dedicated_to = case when dedicated_claims + more.dedicated_more = 0 then null
        when $14 then coalesce(dedicated_to, $11) else dedicated_to end
    from more where hosts.id = $5 and ${fits('more')} returning ${counters}),
  made as (
    insert into claims (${columns})
    select $6, host.id, $7, $8, $9, asked.vcpus, asked.memory, asked.disk, asked.network, $10, $11, $12, $13, $14 from host, asked
    on conflict (id) do update set type = excluded.type, vcpus_milli = excluded.vcpus_milli, memory_mib = excluded.memory_mib,
      disk_mib = excluded.disk_mib, network_mbps = excluded.network_mbps, expires_at = excluded.expires_at,
      account_id = excluded.account_id, group_id = excluded.group_id, group_partition = excluded.group_partition,
      dedicated = excluded.dedicated, epoch = claims.epoch + 1)
  select * from host`;

/**
 * Makes a claim on this host, or changes the one there to this amount, whatever the host's state but its room: for what lies there
 * already. `undefined`: what is asked for beyond the former claim does not fit.
 */
export const setClaim = async (
  tx: Sql,
  hostId: string,
  claim: NewClaim,
): Promise<HostCounters | undefined> => {
  const values = [...amountValues(claim.amount), hostId, ...ownValues(claim)];
  return (await tx.query<HostCounters>(resize, values))[0];
};

/** What is given back of a counter that had drifted below it stays at nothing: the check (claims-check.ts) finds and tells it. */
const giveBack = (less: string): string => `
  update hosts set used_vcpus_milli = greatest(0, used_vcpus_milli - ${less}.vcpus_milli),
    used_memory_mib = greatest(0, used_memory_mib - ${less}.memory_mib),
    used_disk_mib = greatest(0, used_disk_mib - ${less}.disk_mib),
    used_network_mbps = greatest(0, used_network_mbps - ${less}.network_mbps),
    dedicated_claims = greatest(0, dedicated_claims - ${less}.dedicated::int),
    dedicated_to = case when dedicated_claims <= ${less}.dedicated::int then null else dedicated_to end
  from ${less} where hosts.id = ${less}.host_id returning ${counters}`;

const releaseAll = `
  with gone as (
    delete from claims where id = $1 and ($2::bigint is null or epoch = $2)
    returning host_id, vcpus_milli, memory_mib, disk_mib, network_mbps, dedicated),
  host as (${giveBack('gone')})
  select * from host`;

const releaseAllButDisk = `
  with former as materialized (
    select * from claims where id = $1 and ($2::bigint is null or epoch = $2) for update),
  kept as (
    update claims set vcpus_milli = 0, memory_mib = 0, network_mbps = 0, epoch = claims.epoch + 1
    from former where claims.id = former.id
    returning former.host_id, former.vcpus_milli, former.memory_mib, 0::bigint as disk_mib, former.network_mbps,
      false as dedicated),
  host as (${giveBack('kept')})
  select * from host`;

/**
 * Gives back what a claim takes, all of it or all but the disk: the one way in which anything is. Once: a claim that is gone, or of
 * another epoch than the caller saw, gives nothing. Returns the host as it is then.
 */
export const releaseClaim = async (
  tx: Sql,
  id: string,
  { keep = 'none', epoch }: { readonly keep?: 'disk' | 'none'; readonly epoch?: number } = {},
): Promise<HostCounters | undefined> => {
  const statement = keep === 'disk' ? releaseAllButDisk : releaseAll;
  return (await tx.query<HostCounters>(statement, [id, epoch ?? null]))[0];
};

/** Both take over each other's host and amounts, so no counter changes, also where the last release made one and this one the other. */
const exchange = `
  update claims set host_id = other.host_id, vcpus_milli = other.vcpus_milli, memory_mib = other.memory_mib,
    disk_mib = other.disk_mib, network_mbps = other.network_mbps, dedicated = other.dedicated, epoch = claims.epoch + 1
  from claims other, claims own, claims target
  where own.id = 'instance/' || $1 and own.host_id = $3 and target.id = 'migration/' || $1 and target.host_id = $2
    and ((claims.id = own.id and other.id = target.id) or (claims.id = target.id and other.id = own.id))`;

/** The guest has changed hosts: the instance's claim is on the target now, the migration's on the source, until that is cleared. */
export const flipClaims = async (
  tx: Sql,
  instanceId: string,
  hosts: { readonly target: string; readonly source: string },
): Promise<void> => {
  await tx.query(exchange, [instanceId, hosts.target, hosts.source]);
};

export const findClaim = async (sql: Sql, id: string): Promise<ClaimRow | undefined> =>
  (await sql.query<ClaimRow>('select * from claims where id = $1', [id]))[0];

/** What an instance reserves on its host; undefined: nothing. */
export const reservedOf = async (sql: Sql, instanceId: string): Promise<Amount | undefined> => {
  const claim = await findClaim(sql, claimIdOf('instance', instanceId));
  return claim === undefined ? undefined : amountOf(claim);
};

/** The other host of an instance's migration, while it has or may have a copy there. */
export const migrationHostOf = async (sql: Sql, instanceId: string): Promise<string | undefined> =>
  (await findClaim(sql, claimIdOf('migration', instanceId)))?.host_id;

export const isNothing = (amount: Amount): boolean => amountValues(amount).every((part) => part === 0);

/** A host's own reserve, as far as it fits beside what runs there; it is made whole with a later hello. */
export const setReserve = async (tx: Sql, hostId: string, amount: Amount): Promise<boolean> => {
  // Two processors hear one hello: the second statement must see what the first of them wrote.
  await lockHosts(tx, [hostId]);
  const id = claimIdOf('reserve', hostId);
  if (isNothing(amount)) {
    await releaseClaim(tx, id);
    return true;
  }
  return (await setClaim(tx, hostId, { purpose: 'reserve', holder: hostId, amount })) !== undefined;
};

/** The instance has changed groups while it was stopped. Its claim stays where its disk is. */
export const regroupClaim = async (
  tx: Sql,
  instanceId: string,
  group: { readonly groupId: string; readonly partition?: number } | undefined,
): Promise<void> => {
  await tx.query('update claims set group_id = $2, group_partition = $3, epoch = epoch + 1 where id = $1', [
    claimIdOf('instance', instanceId),
    group?.groupId ?? null,
    group?.partition ?? null,
  ]);
};

/** These claims use, or are, slots of the reservation; null: of none any more. */
export const nameReservation = async (
  tx: Sql,
  claimIds: readonly string[],
  reservationId: string | null,
): Promise<void> => {
  await tx.query('update claims set reservation_id = $1 where id = any($2)', [reservationId, claimIds]);
};

/** Claims that have run out, oldest first. */
export const listExpired = (sql: Sql, limit: number): Promise<Pick<ClaimRow, 'id' | 'epoch'>[]> =>
  sql.query('select id, epoch from claims where expires_at < now() order by expires_at, id limit $1', [
    limit,
  ]);
