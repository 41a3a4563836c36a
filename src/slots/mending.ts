/**
 * Which of the VMs that violate their group's constraint move next (S4.5). Pure. Few at a time, and none that has just moved: a violation
 * must have stood for a while, and who was moved rests, longer each time, so that nothing goes back and forth.
 *
 *   seen ──(stands for `standsMs`)──▶ due ──(host and cell have room for a move)──▶ moved ──(rests)──▶ seen again?
 */
import { type Amount, dimensionNames } from './amount.ts';
import type { ConstraintKind } from './constraints.ts';

/**
 * Beside the kinds of constraints that placement obeys. `performance`: the host has reported adversity for long. `utilisation`: the host
 * has promised more than it may (its disk is smaller now, another oversubscription).
 */
export type Cause = ConstraintKind | 'performance' | 'utilisation';

export interface Sighting {
  readonly instanceId: string;
  readonly hostId: string;
  readonly cause: Cause;
  /** For how long it has been seen. */
  readonly stoodMs: number;
  /** The last time that it was moved for one: how long ago, why, and how often in a row. */
  readonly last?: { readonly agoMs: number; readonly cause: Cause; readonly moves: number };
  /** How long ago no place was found for it. */
  readonly triedAgoMs?: number;
  /** What it takes: of those that only measurements speak against, the heaviest goes first. */
  readonly amount: Amount;
}

/** A move for performance that one was part of, and how long ago it began. */
export interface Settling {
  readonly hostId: string;
  readonly agoMs: number;
}

export interface MendingState {
  /** The two hosts of each move that is under way, whoever began it. */
  readonly moving: readonly (readonly string[])[];
  /** Hosts that VMs have lately left or come to for performance: what that changed shows only after a while. */
  readonly settling: readonly Settling[];
}

export interface MendingLimits {
  readonly perCellMax: number;
  readonly perHostMax: number;
  /** For so long a violation must have been seen. */
  readonly standsMs: (cause: Cause) => number;
  /** From a move to the next of the same VM, after the first move; doubled with each, up to the most. */
  readonly restMs: (cause: Cause) => number;
  readonly restMsMax: number;
  /** Before a place is looked for again. */
  readonly retryMs: (cause: Cause) => number;
  readonly settleMs: number;
}

const minutes = 60_000;
/** Constraints are facts of the store; how a host does, and what its disk holds, is measured and goes up and down. */
const slow = (cause: Cause): boolean => cause === 'performance' || cause === 'utilisation';

export const mendingLimits: MendingLimits = {
  perCellMax: 4,
  perHostMax: 1,
  standsMs: (cause) => (slow(cause) ? 5 * minutes : 5_000),
  restMs: (cause) => (slow(cause) ? 60 * minutes : 1 * minutes),
  restMsMax: 24 * 60 * minutes,
  retryMs: (cause) => (slow(cause) ? 30 * minutes : 1 * minutes),
  settleMs: 20 * minutes,
};

/** Below, a host has been pressed for long; a better place is at least so much calmer. */
export const calmMin = 0.5;
export const calmerBy = 0.25;

/** How long a VM that was moved so often in a row stays where it is. */
export const restMsOf = (
  { cause, moves }: { readonly cause: Cause; readonly moves: number },
  limits: MendingLimits,
): number => Math.min(limits.restMsMax, limits.restMs(cause) * 2 ** Math.max(0, moves - 1));

const rests = ({ cause, last }: Sighting, limits: MendingLimits): boolean => {
  if (last === undefined) return false;
  // Who was moved for its speed, and whose group wants it elsewhere now, is not kept from it for an hour.
  const asked = slow(cause) ? last : { ...last, cause };
  return last.agoMs < restMsOf(asked, limits);
};

/** How often it counts as moved in a row: after a long time in one place it begins anew. */
export const movesInRow = (last: Sighting['last'], limits: MendingLimits): number =>
  last === undefined || last.agoMs >= limits.restMsMax ? 0 : last.moves;

/** Whether a host may take part in a move for performance now. */
export const isSettled = (hostId: string, { settling }: MendingState, limits: MendingLimits): boolean =>
  settling.every((each) => each.hostId !== hostId || each.agoMs >= limits.settleMs);

interface Sized {
  readonly instanceId: string;
  readonly amount: Amount;
}

/** Whoever takes the most processors, of equal ones the one that is copied soonest. */
const heavierFirst = (a: Sized, b: Sized): number =>
  b.amount.vcpusMilli - a.amount.vcpusMilli ||
  a.amount.memoryMib - b.amount.memoryMib ||
  (a.instanceId < b.instanceId ? -1 : 1);

const inTurn = (a: Sighting, b: Sighting): number =>
  // Facts come before measurements.
  Number(slow(a.cause)) - Number(slow(b.cause)) ||
  (slow(a.cause) ? heavierFirst(a, b) : b.stoodMs - a.stoodMs);

/**
 * Those whose move may begin now, in turn. The other host of each is not known yet: whoever places it asks `mayMoveTo`.
 */
export const dueMoves = (
  sightings: readonly Sighting[],
  state: MendingState,
  limits: MendingLimits,
): Sighting[] => {
  const busy = new Map<string, number>();
  for (const hostId of state.moving.flat()) busy.set(hostId, (busy.get(hostId) ?? 0) + 1);
  const due = sightings
    .filter((each) => each.stoodMs >= limits.standsMs(each.cause) && !rests(each, limits))
    .filter(({ cause, triedAgoMs }) => triedAgoMs === undefined || triedAgoMs >= limits.retryMs(cause))
    .filter(({ cause, hostId }) => cause !== 'performance' || isSettled(hostId, state, limits))
    .sort(inTurn);
  const chosen: Sighting[] = [];
  for (const each of due) {
    if (state.moving.length + chosen.length >= limits.perCellMax) break;
    const moves = busy.get(each.hostId) ?? 0;
    if (moves >= limits.perHostMax) continue;
    busy.set(each.hostId, moves + 1);
    chosen.push(each);
  }
  return chosen;
};

/** Whether this host may take one in: it has not its most moves under way, and does better where that is why one moves. */
export const mayMoveTo = (
  hostId: string,
  { cause, hostId: from }: Pick<Sighting, 'cause' | 'hostId'>,
  state: MendingState,
  calm: (hostId: string) => number,
  limits: MendingLimits,
): boolean =>
  state.moving.flat().filter((each) => each === hostId).length < limits.perHostMax &&
  (cause !== 'performance' ||
    (calm(hostId) >= Math.max(calmMin, calm(from) + calmerBy) && isSettled(hostId, state, limits)));

/**
 * What moves from a host that has promised too much: the smallest one that gives back all the excess, else the one that gives back the
 * most of it. `excess`: beyond what may be promised; parts that are in order are 0.
 */
export const reliefOf = <T extends Sized>(excess: Amount, vms: readonly T[]): T | undefined => {
  const over = dimensionNames.filter((dimension) => excess[dimension] > 0);
  const relief = ({ amount }: Sized): number =>
    over.reduce((sum, dimension) => sum + Math.min(1, amount[dimension] / excess[dimension]), 0);
  const gives = vms.filter((vm) => relief(vm) > 0);
  return [...gives].sort(
    (a, b) =>
      relief(b) - relief(a) ||
      a.amount.memoryMib - b.amount.memoryMib ||
      (a.instanceId < b.instanceId ? -1 : 1),
  )[0];
};
