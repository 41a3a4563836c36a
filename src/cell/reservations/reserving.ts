/** Makes, changes and ends reservations, and keeps them whole. Each change is one transaction, under the reservation's lock. */
import { PandoError } from '#contracts/errors.ts';
import { newCellId, notFound } from '#contracts/ids.ts';
import type { ValidTag } from '#wire/tags.ts';
import type { Placing } from '../capacity/placing.ts';
import { sizeOf } from '../instance-types.ts';
import { insufficientCapacity } from '../insufficient-capacity.ts';
import * as limits from '../limits.ts';
import type { CellServices } from '../services.ts';
import { nameReservation } from '../store/claims.ts';
import { lockHosts } from '../store/hosts.ts';
import {
  changeReservation,
  countReservations,
  countSlots,
  endReservation,
  findReservationByToken,
  freeSlots,
  insertReservation,
  lockReservation,
  newSlots,
  type ReservationRow,
  releaseSlots,
  type Slot,
  slotIdOf,
} from '../store/reservations.ts';
import type { Sql } from '../store/sql.ts';

const mibPerGib = 1024;

export interface NewReservation {
  readonly accountId: string;
  readonly token?: string | undefined;
  readonly requestHash: string;
  readonly type: string;
  readonly zoneId?: string | undefined;
  readonly tenancy: 'default' | 'dedicated';
  readonly match: 'open' | 'targeted';
  readonly count: number;
  readonly endDate: Date | null;
  readonly ebsOptimized: boolean;
  readonly ephemeral: boolean;
  readonly tags: readonly ValidTag[];
}

/** So many more slots, wherever there is room. Returns how many were made. */
export const addSlots = async (
  tx: Sql,
  placing: Placing,
  row: Pick<ReservationRow, 'id' | 'account_id' | 'type' | 'zone' | 'tenancy' | 'amount'>,
  count: number,
): Promise<number> => {
  const made: string[] = [];
  for (const number of await newSlots(tx, count)) {
    const claim = {
      purpose: 'reservation' as const,
      ...{ holder: row.id, part: number, type: row.type, amount: row.amount },
      ...{ accountId: row.account_id, capabilities: sizeOf(row.type).needs ?? [] },
      ...(row.tenancy === 'dedicated' ? { dedicated: true } : {}),
    };
    if ((await placing.place({ claim, zone: row.zone })) === undefined) break;
    made.push(slotIdOf(row.id, number));
  }
  await nameReservation(tx, made, row.id);
  return made.length;
};

const dropSlots = async (tx: Sql, slots: readonly Slot[]): Promise<void> => {
  await lockHosts(tx, [...new Set(slots.map(({ host_id: id }) => id))].toSorted());
  await releaseSlots(tx, slots);
};

const sameAsBefore = (row: ReservationRow, requestHash: string): ReservationRow => {
  if (row.request_hash === requestHash) return row;
  throw new PandoError(
    'IdempotentParameterMismatch',
    'The request uses the same client token as a previous, but non-identical request.',
  );
};

/** All of its slots, or nothing. @throws InsufficientInstanceCapacity, InstanceLimitExceeded, IdempotentParameterMismatch */
export const createReservation = (
  { capacity, identity }: CellServices,
  wanted: NewReservation,
): Promise<ReservationRow> => {
  const { accountId, token, requestHash, type, count } = wanted;
  const { vcpusMilli, memoryMib, networkMbps } = sizeOf(type);
  const amount = { vcpusMilli, memoryMib, networkMbps, diskMib: limits.reservedDiskGib * mibPerGib };
  return capacity.transaction(async (tx, placing) => {
    const known = token === undefined ? undefined : await findReservationByToken(tx, accountId, token);
    if (known !== undefined) return sameAsBefore(known, requestHash);
    if ((await countReservations(tx, accountId)) >= limits.reservationsMax)
      throw new PandoError(
        'InstanceLimitExceeded',
        `You have ${limits.reservationsMax} Capacity Reservations, which is your limit. Cancel one to create another.`,
      );
    const row = await insertReservation(tx, {
      ...{ id: newCellId('capacityReservation', identity.cellNumber), account_id: accountId },
      ...{ token: token ?? null, request_hash: requestHash, type, zone: identity.zone, amount, total: count },
      ...{ zone_id: wanted.zoneId ?? null, tenancy: wanted.tenancy, match: wanted.match },
      ...{ end_date: wanted.endDate, ebs_optimized: wanted.ebsOptimized, ephemeral: wanted.ephemeral },
      tags: wanted.tags,
    });
    if (row === undefined) {
      const twin = token === undefined ? undefined : await findReservationByToken(tx, accountId, token);
      if (twin === undefined) throw new Error('a reservation was not written');
      return sameAsBefore(twin, requestHash);
    }
    if ((await addSlots(tx, placing, row, count)) < count) throw insufficientCapacity();
    return row;
  });
};

/** @throws InvalidCapacityReservationId.NotFound */
const lockOwned = async (tx: Sql, accountId: string, id: string): Promise<ReservationRow> => {
  const row = await lockReservation(tx, id);
  if (row === undefined || row.account_id !== accountId) throw notFound('capacityReservation', id);
  return row;
};

const badState = ({ id, state }: ReservationRow): PandoError =>
  new PandoError(
    'InvalidCapacityReservationState',
    `The Capacity Reservation '${id}' is ${state}: it cannot be changed.`,
  );

export interface ReservationChange {
  readonly count?: number | undefined;
  /** Null: without end. */
  readonly endDate?: Date | null | undefined;
}

/** @throws also InvalidCapacityReservationState, InvalidParameterValue, InsufficientInstanceCapacity */
export const modifyReservation = (
  { capacity }: CellServices,
  of: { readonly accountId: string; readonly id: string; readonly check: () => void },
  { count, endDate }: ReservationChange,
): Promise<void> =>
  capacity.transaction(async (tx, placing) => {
    const row = await lockOwned(tx, of.accountId, of.id);
    if (row.state !== 'active') throw badState(row);
    const { free = 0, used = 0 } = (await countSlots(tx, [row.id])).get(row.id) ?? {};
    const total = count ?? row.total;
    if (total < used)
      throw new PandoError(
        'InvalidParameterValue',
        `Value (${total}) for parameter instanceCount is invalid. ${used} instances run in the Capacity Reservation.`,
      );
    of.check();
    await changeReservation(tx, row.id, { total, endDate: endDate === undefined ? row.end_date : endDate });
    const more = total - used - free;
    if (more < 0) await dropSlots(tx, (await freeSlots(tx, [row.id])).slice(0, -more));
    if (more > 0 && count !== undefined && (await addSlots(tx, placing, row, more)) < more)
      throw insufficientCapacity();
  });

/** What is free of it is given back; instances that run in it run on. */
export const cancelReservation = (
  { db }: CellServices,
  of: { readonly accountId: string; readonly id: string; readonly check: () => void },
): Promise<void> =>
  db.transaction(async (tx) => {
    const row = await lockOwned(tx, of.accountId, of.id);
    if (row.state === 'cancelled') return of.check();
    if (row.state !== 'active') throw badState(row);
    of.check();
    await end(tx, row.id, 'cancelled');
  });

export const end = async (tx: Sql, id: string, state: 'expired' | 'cancelled'): Promise<void> => {
  await endReservation(tx, id, state);
  await dropSlots(tx, await freeSlots(tx, [id]));
};
