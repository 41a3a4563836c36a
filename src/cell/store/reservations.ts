/** Rows of capacity reservations and what they have: free slots are claims of their own, used ones are claims of instances. */
import type { Amount } from '#slots/amount.ts';
import type { ValidTag } from '#wire/tags.ts';
import { type ClaimRow, claimIdOf, nameReservation, releaseClaim, setClaim } from './claims.ts';
import { amountOf, heardWithin } from './hosts.ts';
import type { Sql } from './sql.ts';

export interface ReservationRow {
  readonly id: string;
  readonly account_id: string;
  readonly token: string | null;
  readonly request_hash: string;
  readonly state: 'active' | 'expired' | 'cancelled';
  readonly type: string;
  readonly zone: string;
  readonly zone_id: string | null;
  readonly tenancy: 'default' | 'dedicated';
  readonly match: 'open' | 'targeted';
  readonly total: number;
  /** Of one slot. */
  readonly amount: Amount;
  readonly end_date: Date | null;
  readonly ebs_optimized: boolean;
  readonly ephemeral: boolean;
  readonly tags: readonly ValidTag[];
  readonly created_at: Date;
  readonly ended_at: Date | null;
}

/** A free slot: its claim. */
export interface Slot extends ClaimRow {
  readonly reservation_id: string;
}

export interface SlotCounts {
  readonly free: number;
  readonly used: number;
}

export const insertReservation = async (
  tx: Sql,
  row: Omit<ReservationRow, 'state' | 'created_at' | 'ended_at'>,
): Promise<ReservationRow | undefined> =>
  (
    await tx.query<ReservationRow>(
      `insert into capacity_reservations (id, account_id, token, request_hash, type, zone, zone_id, tenancy, match, total, amount,
         end_date, ebs_optimized, ephemeral, tags)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb, $12, $13, $14, $15::jsonb)
       on conflict (account_id, token) do nothing returning *`,
      [
        ...[
          row.id,
          row.account_id,
          row.token,
          row.request_hash,
          row.type,
          row.zone,
          row.zone_id,
          row.tenancy,
        ],
        ...[row.match, row.total, JSON.stringify(row.amount), row.end_date, row.ebs_optimized, row.ephemeral],
        JSON.stringify(row.tags),
      ],
    )
  )[0];

export const findReservationByToken = async (
  sql: Sql,
  accountId: string,
  token: string,
): Promise<ReservationRow | undefined> =>
  (
    await sql.query<ReservationRow>(
      'select * from capacity_reservations where account_id = $1 and token = $2',
      [accountId, token],
    )
  )[0];

export const countReservations = async (sql: Sql, accountId: string): Promise<number> =>
  (
    await sql.query<{ n: number }>(
      `select count(*)::int as n from capacity_reservations where account_id = $1 and state = 'active'`,
      [accountId],
    )
  )[0]?.n ?? 0;

/** Locks one. Reservations are locked after instances and before groups and hosts, those of one transaction by their ids. */
export const lockReservation = async (tx: Sql, id: string): Promise<ReservationRow | undefined> =>
  (await tx.query<ReservationRow>('select * from capacity_reservations where id = $1 for update', [id]))[0];

const running = `state = 'active' and (end_date is null or end_date > now())`;

/** Locks those that instances of these types run in by themselves, or that are named; oldest first. */
export const lockMatching = async (
  tx: Sql,
  wanted: {
    readonly accountId: string;
    readonly types: readonly string[];
    readonly named: readonly string[];
  },
): Promise<ReservationRow[]> => {
  const rows = await tx.query<ReservationRow>(
    `select * from capacity_reservations where account_id = $1 and ${running}
       and ((match = 'open' and type = any($2)) or id = any($3)) order by id for update`,
    [wanted.accountId, wanted.types, wanted.named],
  );
  return rows.toSorted((a, b) => a.created_at.getTime() - b.created_at.getTime() || (a.id < b.id ? -1 : 1));
};

export const isRunning = ({ state, end_date: end }: ReservationRow, nowMs: number): boolean =>
  state === 'active' && (end === null || end.getTime() > nowMs);

/** Free slots of these reservations, by host. */
export const freeSlots = (sql: Sql, reservationIds: readonly string[]): Promise<Slot[]> =>
  reservationIds.length === 0
    ? Promise.resolve([])
    : sql.query(
        `select * from claims where reservation_id = any($1) and purpose = 'reservation'
         order by host_id, id`,
        [reservationIds],
      );

export const countSlots = async (
  sql: Sql,
  reservationIds: readonly string[],
): Promise<ReadonlyMap<string, SlotCounts>> => {
  const rows = await sql.query<SlotCounts & { id: string }>(
    `select reservation_id as id, count(*) filter (where purpose = 'reservation')::int as free,
       count(*) filter (where purpose = 'instance')::int as used
     from claims where reservation_id = any($1) group by 1`,
    [reservationIds],
  );
  return new Map(rows.map(({ id, free, used }) => [id, { free, used }]));
};

/** Numbers for new slots. */
export const newSlots = async (tx: Sql, count: number): Promise<number[]> =>
  (
    await tx.query<{ n: number }>(
      `select nextval('capacity_reservation_slots')::int as n from generate_series(1, $1)`,
      [count],
    )
  ).map(({ n }) => n);

export const slotIdOf = (reservationId: string, number: number): string =>
  claimIdOf('reservation', reservationId, number);

/** The instance's claim uses a slot of the reservation. Its row is there already, so that it shows it. */
export const useSlot = (tx: Sql, instanceId: string, reservationId: string): Promise<void> =>
  nameReservation(tx, [claimIdOf('instance', instanceId)], reservationId);

export const releaseSlots = async (tx: Sql, slots: readonly Pick<Slot, 'id'>[]): Promise<void> => {
  for (const { id } of slots) await releaseClaim(tx, id);
};

/** Slots that were taken in this transaction are free again, as they were. */
export const returnSlots = async (tx: Sql, slots: readonly Slot[]): Promise<void> => {
  for (const slot of slots) {
    const { id, host_id: hostId, reservation_id: holder, type, account_id: accountId, dedicated } = slot;
    const part = Number(id.slice(id.lastIndexOf('/') + 1));
    await setClaim(tx, hostId, {
      ...{ purpose: 'reservation', holder, part, amount: amountOf(slot), dedicated },
      ...(type === null ? {} : { type }),
      ...(accountId === null ? {} : { accountId }),
    });
    await nameReservation(tx, [id], holder);
  }
};

export const changeReservation = async (
  tx: Sql,
  id: string,
  change: { readonly total: number; readonly endDate: Date | null },
): Promise<void> => {
  await tx.query('update capacity_reservations set total = $2, end_date = $3 where id = $1', [
    ...[id, change.total, change.endDate],
  ]);
};

export const endReservation = async (tx: Sql, id: string, state: 'expired' | 'cancelled'): Promise<void> => {
  await tx.query('update capacity_reservations set state = $2, ended_at = now() where id = $1', [id, state]);
};

export const listReservations = (
  sql: Sql,
  of: {
    readonly accountId: string;
    readonly ids?: readonly string[] | undefined;
    readonly after?: string | undefined;
    readonly limit: number;
  },
): Promise<ReservationRow[]> =>
  sql.query(
    `select * from capacity_reservations where account_id = $1 and ($2::text[] is null or id = any($2))
       and ($3::text is null or id > $3) order by id limit $4`,
    [of.accountId, of.ids ?? null, of.after ?? null, of.limit],
  );

/** Those whose end has come. */
export const listDue = (sql: Sql, limit: number): Promise<{ id: string }[]> =>
  sql.query(
    `select id from capacity_reservations where state = 'active' and end_date <= now() order by end_date, id limit $1`,
    [limit],
  );

export interface Reservations {
  /** Some are active. */
  readonly active: boolean;
  /** Some have ended, and are named by claims. */
  readonly orphans: boolean;
}

/** What there is to keep true: in most cells nothing, which is asked often. */
export const whatIsReserved = async (sql: Sql): Promise<Reservations> => {
  const [found] = await sql.query<Reservations>(
    `select exists (select from capacity_reservations where state = 'active') as active,
       exists (select from claims c join capacity_reservations r on r.id = c.reservation_id where r.state <> 'active') as orphans`,
  );
  return found ?? { active: true, orphans: true };
};

/** Claims that name a reservation which has ended. */
export const listOrphans = (
  sql: Sql,
  limit: number,
): Promise<{ id: string; purpose: string; holder: string }[]> =>
  sql.query(
    `select c.id, c.purpose, c.holder from claims c join capacity_reservations r on r.id = c.reservation_id
     where r.state <> 'active' order by c.id limit $1`,
    [limit],
  );

/** Reservations that have too few slots or too many, or some on hosts that take no VMs. */
export const listUnsettled = (sql: Sql, silenceSeconds: number, limit: number): Promise<{ id: string }[]> =>
  sql.query(
    `select r.id from capacity_reservations r left join claims c on c.reservation_id = r.id left join hosts h on h.id = c.host_id
     where r.state = 'active' group by r.id
     having count(c.id) <> r.total or bool_or(c.purpose = 'reservation'
       and (h.state <> 'active' or not ${heardWithin('$1', 'h')}))
     order by r.id limit $2`,
    [silenceSeconds, limit],
  );

/** Free slots on hosts that take no VMs just now. */
export const slotsAstray = (sql: Sql, id: string, silenceSeconds: number): Promise<Slot[]> =>
  sql.query(
    `select c.* from claims c join hosts h on h.id = c.host_id
     where c.reservation_id = $1 and c.purpose = 'reservation'
       and (h.state <> 'active' or not ${heardWithin('$2', 'h')}) order by c.host_id, c.id`,
    [id, silenceSeconds],
  );

export const purgeReservations = async (sql: Sql, before: Date, limit: number): Promise<void> => {
  await sql.query(
    `delete from capacity_reservations where id in (
       select id from capacity_reservations where ended_at < $1 order by ended_at limit $2 for update skip locked)`,
    [before, limit],
  );
};
