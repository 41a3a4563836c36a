/**
 * VMs that violate their group's constraint get a slot on another host and are moved there (S4.5). What is seen is written down, so that
 * it does not matter which processor looks; who moves, and when, is decided by slots/mending.ts.
 */
import { PandoError } from '#contracts/errors.ts';
import { type Amount, clamped, minus, nothing } from '#slots/amount.ts';
import { violationsOf } from '#slots/constraints.ts';
import {
  calmMin,
  dueMoves,
  type MendingLimits,
  type MendingState,
  mayMoveTo,
  mendingLimits,
  movesInRow,
  reliefOf,
  type Sighting,
} from '#slots/mending.ts';
import type { Begun } from '../lifecycle.ts';
import { mendingGroupsMax, mendingHostsMax, mendingVmsPerHostMax } from '../limits.ts';
import { beginMove } from '../moves.ts';
import type { CellServices } from '../services.ts';
import type { CapacityRow } from '../store/capacity.ts';
import { amountOf } from '../store/hosts.ts';
import { lockInstances } from '../store/instances.ts';
import type { Sql } from '../store/sql.ts';
import {
  forgetUnseen,
  type GroupMember,
  listMoving,
  listSettling,
  listViolations,
  lockMending,
  membersOfViolated,
  movableOn,
  noteMoved,
  noteSeen,
  noteTried,
  type Seen,
  type ViolationRow,
} from '../store/violations.ts';
import { limitOf, usedOf } from './view.ts';

export interface MendingOptions {
  readonly services: CellServices;
  readonly owner: string;
  readonly limits?: MendingLimits;
  begun(begun: Begun): void;
}

/** Members that have to leave, and can. */
const ofGroups = (members: readonly GroupMember[]): Seen[] =>
  [...Map.groupBy(members, ({ groupId }) => groupId).values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const movable = new Set(group.filter((member) => member.movable).map(({ holder }) => holder));
    return violationsOf({ strategy: first.strategy, members: group })
      .filter(({ holder }) => movable.has(holder))
      .map(({ holder, hostId, constraint }) => ({ instanceId: holder, hostId, cause: constraint }));
  });

/** What a host has promised beyond what it may. Bandwidth is not promised as strictly: a network that is full is measured. */
const excessOf = (row: CapacityRow): Amount => ({
  ...clamped(minus(usedOf(row), limitOf(row))),
  networkMbps: 0,
});

const isExcess = ({ vcpusMilli, memoryMib, diskMib }: Amount): boolean =>
  vcpusMilli + memoryMib + diskMib > 0;

const sightingOf = (row: ViolationRow): Sighting => ({
  ...{ instanceId: row.instance_id, hostId: row.host_id, cause: row.cause, stoodMs: row.stood_ms },
  amount: amountOf(row),
  ...(row.tried_ago_ms === null ? {} : { triedAgoMs: row.tried_ago_ms }),
  ...(row.moved_ago_ms === null || row.moved_cause === null
    ? {}
    : { last: { agoMs: row.moved_ago_ms, cause: row.moved_cause, moves: row.moves } }),
});

export class Mending {
  readonly #options: MendingOptions;
  readonly #limits: MendingLimits;

  constructor(options: MendingOptions) {
    this.#options = options;
    this.#limits = options.limits ?? mendingLimits;
  }

  /** Looks at all, and begins the moves that are due. Returns how many it began. */
  async turn(): Promise<number> {
    const { db } = this.#options.services;
    const due = await db.transaction(async (tx) => {
      const lock = await lockMending(tx);
      if (lock === undefined) return [];
      const seen = await this.#look(tx);
      const ids = seen.map(({ instanceId }) => instanceId);
      if (seen.length > 0) await noteSeen(tx, seen);
      // What another turn writes meanwhile is forgotten by the next one.
      if (seen.length > 0 || lock.noted) await forgetUnseen(tx, ids, this.#limits.restMsMax);
      if (seen.length === 0) return [];
      // What another processor has measured and this one has not, it could not compare hosts by.
      const own = (await listViolations(tx)).filter((row) => ids.includes(row.instance_id));
      return dueMoves(own.map(sightingOf), await this.#state(tx), this.#limits);
    });
    let begun = 0;
    for (const { instanceId } of due) if (await this.#move(instanceId)) begun += 1;
    return begun;
  }

  /** One cause for each: what its group asks comes before what was measured. */
  async #look(tx: Sql): Promise<Seen[]> {
    const found = [
      ...ofGroups(await membersOfViolated(tx, mendingGroupsMax)),
      ...(await this.#overcommitted(tx)),
      ...(await this.#pressed(tx)),
    ];
    const first = new Map<string, Seen>();
    for (const seen of found) if (!first.has(seen.instanceId)) first.set(seen.instanceId, seen);
    return [...first.values()];
  }

  /** VMs of hosts that have reported pressure for long. */
  async #pressed(tx: Sql): Promise<Seen[]> {
    const { capacity } = this.#options.services;
    const hostIds = this.#openHosts()
      .filter(({ id }) => capacity.calm(id) < calmMin)
      .slice(0, mendingHostsMax)
      .map(({ id }) => id);
    if (hostIds.length === 0) return [];
    const rows = await movableOn(tx, hostIds, mendingVmsPerHostMax);
    return rows.map((row) => ({ instanceId: row.id, hostId: row.host_id, cause: 'performance' }));
  }

  /** Of each host that has promised too much, the VM that gives back what it lacks. */
  async #overcommitted(tx: Sql): Promise<Seen[]> {
    const over = this.#openHosts()
      .filter((row) => isExcess(excessOf(row)))
      .slice(0, mendingHostsMax);
    if (over.length === 0) return [];
    const excess = new Map(over.map((row) => [row.id, excessOf(row)]));
    const rows = await movableOn(tx, [...excess.keys()], mendingVmsPerHostMax);
    const tried = new Set(
      (await listViolations(tx))
        .filter((row) => row.tried_ago_ms !== null)
        .map(({ instance_id: instanceId }) => instanceId),
    );
    return [...Map.groupBy(rows, (row) => row.host_id)].flatMap(([hostId, vms]) => {
      const sized = vms.map((row) => ({ instanceId: row.id, amount: amountOf(row) }));
      const untried = sized.filter(({ instanceId }) => !tried.has(instanceId));
      const relief = reliefOf(excess.get(hostId) ?? nothing, untried);
      return relief === undefined
        ? []
        : [{ instanceId: relief.instanceId, hostId, cause: 'utilisation' } as const];
    });
  }

  /** A host that is silent could not be copied from. */
  #openHosts(): CapacityRow[] {
    return this.#options.services.capacity.view.rows().filter(({ open }) => open);
  }

  async #state(tx: Sql): Promise<MendingState> {
    const moving = await listMoving(tx);
    const settling = await listSettling(tx, this.#limits.settleMs);
    return {
      moving: moving.map(({ from_host: from, to_host: to }) => [from, to]),
      settling: settling.map(({ host_id: hostId, ago_ms: agoMs }) => ({ hostId, agoMs })),
    };
  }

  async #move(instanceId: string): Promise<boolean> {
    const { services, begun } = this.#options;
    try {
      const move = await this.#begin(instanceId);
      if (move === undefined) return false;
      const { workflow, ...told } = move;
      begun({ changes: [], workflows: [workflow], cancelled: [] });
      services.log.info(told, 'a VM that violates its group’s constraint moves');
      return true;
    } catch (error) {
      const { code } = PandoError.from(error);
      // A user's change came first.
      if (code === 'IncorrectInstanceState') return false;
      if (code !== 'InsufficientInstanceCapacity') throw error;
      await noteTried(services.db, instanceId);
      services.log.warn(
        { instanceId },
        'ALARM: a VM violates its group’s constraint, and no other host has a slot for it: pando capacity explain',
      );
      return false;
    }
  }

  /** Under the cell's lock, and with everything read anew: two processors begin no more moves than one would. */
  #begin(instanceId: string) {
    const { services, owner } = this.#options;
    const { capacity } = services;
    return capacity.transaction(async (tx, placing) => {
      if ((await lockMending(tx)) === undefined) return undefined;
      const [row] = await lockInstances(tx, undefined, [instanceId]);
      const state = await this.#state(tx);
      const [seen] = dueMoves((await listViolations(tx, instanceId)).map(sightingOf), state, this.#limits);
      if (row === undefined || seen === undefined) return undefined;
      const { workflow, target } = await beginMove({ services, owner }, tx, placing, row, {
        accept: ({ hostId }) => mayMoveTo(hostId, seen, state, capacity.calm, this.#limits),
      });
      await noteMoved(tx, seen, target.hostId, movesInRow(seen.last, this.#limits) + 1);
      const { cause, hostId: from } = seen;
      return { workflow, instanceId, cause, from, to: target.hostId, workflowId: workflow.id };
    });
  }
}
