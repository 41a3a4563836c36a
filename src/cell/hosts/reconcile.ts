/**
 * One host's report compared with the rows of the cell. Level-triggered: each report is the whole truth of a host, so a lost one costs
 * nothing, and what differs is verified with the host once more before anything is done about it.
 */
import type { VmReport } from '#contracts/host.ts';
import { generationOf } from '../generation.ts';
import { isEndedByOwner, stateReasons } from '../instance-states.ts';
import {
  type Begun,
  beginRecovery,
  beginStop,
  beginTerminate,
  type Cause,
  nothingBegun,
} from '../lifecycle.ts';
import type { CellServices } from '../services.ts';
import { claimIdOf, migrationHostOf, releaseClaim } from '../store/claims.ts';
import {
  type BriefInstance,
  changeInstance,
  findPlaced,
  type InstanceRow,
  listHostBriefly,
  lockInstances,
  type PlacedInstance,
} from '../store/instances.ts';
import type { Sql } from '../store/sql.ts';
import { noteUnexplained } from './crashes.ts';
import { endingOf } from './endings.ts';
import { isAhead, raiseGeneration, takeGeneration } from './generations.ts';
import { Quarantine } from './quarantine.ts';
import { Removals } from './removals.ts';

export interface ReconcilerOptions {
  readonly services: CellServices;
  readonly owner: string;
  /** Hands begun workflows to the engine. */
  begun(begun: Begun): void;
}

const guestShutdown: Cause = { reason: stateReasons.guestShutdown, words: '' };
const lostVm: Cause = { reason: stateReasons.lost, words: 'Server.InternalError' };
const unrecovered: Cause = { reason: stateReasons.recoveryFailed, words: 'Server.InternalError' };

export class HostReconciler {
  readonly #options: ReconcilerOptions;
  readonly #removals: Removals;
  readonly quarantine: Quarantine;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#removals = new Removals(options.services);
    this.quarantine = new Quarantine(options.services, this.#removals);
  }

  /** Compares a host's whole report with the store. Returns whether nothing is left that a later report must settle. */
  async reconcile(hostId: string, vms: readonly VmReport[]): Promise<boolean> {
    const { db, log } = this.#options.services;
    const reported = new Map(vms.map((vm) => [vm.instanceId, vm]));
    let settled = true;
    for (const seen of await listHostBriefly(db, hostId)) {
      const vm = reported.get(seen.id);
      reported.delete(seen.id);
      try {
        settled = (await this.#settleSeen(hostId, seen, vm)) && settled;
      } catch (error) {
        // One VM that cannot be settled now does not keep the others from it.
        settled = false;
        log.warn(
          { host: hostId, instance: seen.id, err: error },
          'an instance was not compared with its host',
        );
      }
    }
    return (await this.quarantine.settle(hostId, [...reported.values()])) && settled;
  }

  /** The whole row is read only where it may differ: then it is compared as it is now. */
  async #settleSeen(hostId: string, seen: BriefInstance, vm: VmReport | undefined): Promise<boolean> {
    if (!isAhead(seen, vm?.generation)) {
      if (seen.workflow_id !== null) return false;
      if (seen.migration_host !== hostId && agrees(seen, hostId, vm)) return true;
    }
    const row = await findPlaced(this.#options.services.db, seen.id);
    return row !== undefined && this.#settleRow(hostId, row, vm);
  }

  /** Whether nothing is left of this row that a later report must settle. */
  async #settleRow(hostId: string, row: PlacedInstance, vm: VmReport | undefined): Promise<boolean> {
    if (isAhead(row, vm?.generation))
      return row.state === 'terminated' && row.host_id === hostId && !isEndedByOwner(row)
        ? this.#leave(row)
        : this.#raise(hostId, row, vm?.generation ?? 0);
    if (row.workflow_id !== null) return false;
    if (row.migration_host === hostId) return this.#finishMove(hostId, row);
    return agrees(row, hostId, vm) || this.#mend(hostId, row);
  }

  async #raise(hostId: string, row: InstanceRow, heard: number): Promise<false> {
    const { services } = this.#options;
    services.log.error(
      { host: hostId, instance: row.id, generation: generationOf(row.place_epoch), heard },
      'the host has heard of a change that the store does not know: the store has lost commits',
    );
    await raiseGeneration(services.db, row, heard);
    return false;
  }

  /** A row that has ended without its owner's word lets go of a VM that has lived on since: the next report shows it as a stranger. */
  async #leave(seen: InstanceRow): Promise<false> {
    await this.#options.services.db.transaction(async (tx) => {
      const [row] = await lockInstances(tx, undefined, [seen.id]);
      if (row === undefined || row.version !== seen.version) return;
      await releaseClaim(tx, claimIdOf('instance', row.id));
      await changeInstance(tx, row.id, { host_id: null });
    });
    return false;
  }

  #describe(hostId: string, instanceId: string): Promise<VmReport> {
    return this.#options.services.hosts.call(hostId, 'vm.describe', { instanceId });
  }

  /** The report may be older than the row: the host is asked now, and the row must still be the one that was compared. */
  async #mend(hostId: string, seen: InstanceRow): Promise<boolean> {
    const { services } = this.#options;
    const vm = await this.#describe(hostId, seen.id);
    if (agrees(seen, hostId, vm)) return true;
    if (seen.state === 'terminated') return this.#finishTermination(hostId, seen, vm);
    if (seen.state === 'stopped') {
      const row = await takeGeneration(services.db, seen);
      if (row !== undefined) await this.#removals.stop(hostId, row, 'its row says stopped');
      return false;
    }
    const begun = await services.db.transaction(async (tx) => {
      const [row] = await lockInstances(tx, undefined, [seen.id]);
      // Closes the race with a request that changed the instance after the host was asked.
      if (row === undefined || row.version !== seen.version) return nothingBegun;
      if (vm.ended?.cause === 'killed') await noteUnexplained(tx, services, hostId, seen.id, 'killed');
      return this.#beginEnding(tx, row, vm);
    });
    this.#options.begun(begun);
    return false;
  }

  /** The instance should run and its VM does not. */
  #beginEnding(tx: Sql, row: InstanceRow, vm: VmReport): Begun | Promise<Begun> {
    const { services, owner } = this.#options;
    const actor = { services, owner };
    const ending = endingOf(row, vm, services.clock.now());
    if (ending.kind === 'wait') return nothingBegun;
    services.log.warn(
      { instance: row.id, host: row.host_id, state: vm.state, ended: vm.ended, ending: ending.kind },
      'a VM does not run whose instance should',
    );
    switch (ending.kind) {
      case 'terminate':
        return beginTerminate(actor, tx, row, guestShutdown);
      case 'stop-guest':
        return beginStop(actor, tx, row, true, guestShutdown);
      case 'stop-lost':
        return beginStop(actor, tx, row, true, lostVm);
      case 'stop-unrecovered':
        return beginStop(actor, tx, row, true, unrecovered);
      case 'recover':
        return beginRecovery(actor, tx, row, ending.recovery);
    }
  }

  /** The host was away when its instance was terminated: now the VM goes, then the capacity comes back. */
  async #finishTermination(hostId: string, seen: InstanceRow, vm: VmReport): Promise<boolean> {
    const { services } = this.#options;
    const proof = `terminated: ${seen.state_reason?.Code ?? 'no reason kept'}`;
    const taken = vm.state === 'absent' ? seen : await takeGeneration(services.db, seen);
    if (taken === undefined) return false;
    if (vm.state !== 'absent' && !(await this.#removals.finish(hostId, taken, proof))) return false;
    await services.db.transaction(async (tx) => {
      const [row] = await lockInstances(tx, undefined, [seen.id]);
      if (row === undefined || row.version !== taken.version || row.host_id !== hostId) return;
      await releaseClaim(tx, claimIdOf('instance', row.id));
      await changeInstance(tx, row.id, { host_id: null });
    });
    return true;
  }

  /** The other host of a migration was away when that ended: its copy goes once it is shown where the guest is, then the capacity comes back. */
  async #finishMove(hostId: string, seen: PlacedInstance): Promise<boolean> {
    const { services } = this.#options;
    const copy = await this.#describe(hostId, seen.id);
    const verdict =
      seen.state === 'terminated'
        ? ({ kind: 'gone', row: seen, proof: 'terminated' } as const)
        : await this.quarantine.judgeCopy(hostId, copy, seen);
    // Its row speaks of both hosts, so it is no stranger: it is looked at again with each report until one of them is clear.
    if (typeof verdict === 'string' || verdict.kind === 'later') return false;
    const taken = copy.state === 'absent' ? seen : await takeGeneration(services.db, seen);
    if (taken === undefined) return false;
    if (copy.state !== 'absent' && !(await this.#removals.finish(hostId, taken, verdict.proof))) return false;
    await services.db.transaction(async (tx) => {
      const [row] = await lockInstances(tx, undefined, [seen.id]);
      if (row === undefined || row.workflow_id !== null) return;
      if ((await migrationHostOf(tx, row.id)) !== hostId) return;
      await releaseClaim(tx, claimIdOf('migration', row.id));
      await changeInstance(tx, row.id, {});
    });
    return true;
  }
}

/** Whether a host's VM is as the row has it; only for rows that no workflow owns. */
const agrees = (
  row: Pick<InstanceRow, 'state' | 'host_id'>,
  hostId: string,
  vm: VmReport | undefined,
): boolean => {
  const state = vm?.state ?? 'absent';
  if (row.state === 'terminated') return row.host_id === null;
  if (row.host_id !== hostId) return true;
  if (row.state === 'running') return state !== 'absent' && state !== 'stopped' && state !== 'failed';
  return row.state !== 'stopped' || state !== 'running';
};
