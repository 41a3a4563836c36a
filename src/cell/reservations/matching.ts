/**
 * Which slots of reservations a launch or a start takes. `open` (EC2's default): those of the account's open reservations that are like
 * it, as far as there are any, and room of its own beyond. A named reservation, or `capacity-reservations-only`: those alone.
 */
import { PandoError } from '#contracts/errors.ts';
import { notFound, parseId } from '#contracts/ids.ts';
import { lockHosts } from '../store/hosts.ts';
import {
  freeSlots,
  isRunning,
  lockMatching,
  lockReservation,
  type ReservationRow,
  releaseSlots,
  type Slot,
} from '../store/reservations.ts';
import type { Sql } from '../store/sql.ts';

/** What an instance says of reservations; `open` where it says nothing. */
export interface Choice {
  readonly preference: 'open' | 'none' | 'capacity-reservations-only';
  readonly target?: string;
}

export interface Wanted {
  readonly accountId: string;
  readonly type: string;
  readonly zone: string;
  readonly tenancy: 'default' | 'dedicated' | 'host';
  readonly choice: Choice;
  readonly min: number;
  readonly max: number;
}

const likeIt = (row: ReservationRow, { type, zone, tenancy }: Omit<Wanted, 'min' | 'max'>): boolean =>
  row.type === type && row.zone === zone && row.tenancy === tenancy;

const exceeded = (message: string): PandoError => new PandoError('ReservationCapacityExceeded', message);

/** @throws InvalidCapacityReservationId.NotFound, InvalidCapacityReservationState, InvalidParameterCombination */
const lockTarget = async (
  tx: Sql,
  wanted: Wanted,
  target: string,
  nowMs: number,
): Promise<ReservationRow> => {
  const row = await lockReservation(tx, parseId('capacityReservation', target));
  if (row === undefined || row.account_id !== wanted.accountId) throw notFound('capacityReservation', target);
  if (!isRunning(row, nowMs))
    throw new PandoError(
      'InvalidCapacityReservationState',
      `The Capacity Reservation '${row.id}' is ${row.state === 'active' ? 'expired' : row.state}.`,
    );
  if (!likeIt(row, wanted))
    throw new PandoError(
      'InvalidParameterCombination',
      `The Capacity Reservation '${row.id}' is for ${row.type} in ${row.zone} with the tenancy ${row.tenancy}, and the instance is ${wanted.type} in ${wanted.zone} with the tenancy ${wanted.tenancy}.`,
    );
  return row;
};

/** Whether nothing but slots of reservations will do. */
export const onlyReserved = ({ preference, target }: Choice): boolean =>
  target !== undefined || preference === 'capacity-reservations-only';

/**
 * Locks reservations and their slots for a launch; nothing is taken yet. @throws also ReservationCapacityExceeded where slots alone will do
 * and there are too few
 */
export const findSlots = async (tx: Sql, wanted: Wanted, nowMs: number): Promise<readonly Slot[]> => {
  const { choice, accountId, type, min, max } = wanted;
  if (choice.preference === 'none' && choice.target === undefined) return [];
  const rows =
    choice.target === undefined
      ? (await lockMatching(tx, { accountId, types: [type], named: [] })).filter((row) => likeIt(row, wanted))
      : [await lockTarget(tx, wanted, choice.target, nowMs)];
  const slots = await freeSlots(
    tx,
    rows.map(({ id }) => id),
  );
  // Of the oldest reservation first.
  const order = new Map(rows.map(({ id }, at) => [id, at]));
  const inOrder = slots
    .toSorted((a, b) => (order.get(a.reservation_id) ?? 0) - (order.get(b.reservation_id) ?? 0))
    .slice(0, max);
  if (onlyReserved(choice) && inOrder.length < min)
    throw exceeded(
      choice.target === undefined
        ? 'No open Capacity Reservation has enough available instance capacity for your request.'
        : `The Capacity Reservation '${choice.target}' does not have enough available instance capacity: ${inOrder.length} of the ${min} that are asked for.`,
    );
  return inOrder;
};

/** Takes slots: what they reserved is free to this transaction alone, which holds their hosts' locks. */
export const takeSlots = async (tx: Sql, slots: readonly Slot[]): Promise<void> => {
  await lockHosts(tx, [...new Set(slots.map(({ host_id: id }) => id))].toSorted());
  await releaseSlots(tx, slots);
};

export interface Starting {
  readonly id: string;
  readonly accountId: string;
  readonly type: string;
  readonly zone: string;
  readonly tenancy: 'default' | 'dedicated' | 'host';
  readonly choice: Choice;
  readonly hostId: string | null;
}

/**
 * Slots for instances that start where their disks lie, by instance: one on its own host rather than another's, since a slot elsewhere
 * leaves it room there only if there is some. @throws as `findSlots`
 */
export const slotsForStart = async (
  tx: Sql,
  starting: readonly Starting[],
  nowMs: number,
): Promise<ReadonlyMap<string, Slot>> => {
  const asking = starting.filter(({ choice }) => choice.preference !== 'none' || choice.target !== undefined);
  const [first] = asking;
  if (first === undefined) return new Map();
  const rows = await lockMatching(tx, {
    accountId: first.accountId,
    types: [...new Set(asking.map(({ type }) => type))],
    named: asking.flatMap(({ choice }) => choice.target ?? []),
  });
  let free = await freeSlots(
    tx,
    rows.map(({ id }) => id),
  );
  const taken = new Map<string, Slot>();
  for (const one of asking) {
    const { target } = one.choice;
    if (target !== undefined && !rows.some(({ id }) => id === target))
      await lockTarget(tx, { ...one, min: 1, max: 1 }, target, nowMs);
    const fitting = rows.filter(
      (row) => likeIt(row, one) && (target === undefined ? row.match === 'open' : row.id === target),
    );
    const own = free.filter(({ reservation_id: id }) => fitting.some((row) => row.id === id));
    const slot = own.find(({ host_id: id }) => id === one.hostId) ?? own[0];
    if (slot === undefined) {
      if (onlyReserved(one.choice))
        throw exceeded(
          `No Capacity Reservation has available instance capacity for the instance '${one.id}'.`,
        );
      continue;
    }
    taken.set(one.id, slot);
    free = free.filter(({ id }) => id !== slot.id);
  }
  return taken;
};
