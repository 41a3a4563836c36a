/**
 * What reconciliation ends by itself on a host, always by positive proof and never more than a budget: a store that speaks of many VMs
 * at once in error is then held up before much is lost. Above the budget nothing more is removed, and people are told. What an owner
 * has asked for is no decision of reconciliation's: it is carried out without a budget.
 */
import type { CommandKey } from '#contracts/host.ts';
import { newCellId } from '#contracts/ids.ts';
import { generationOf } from '../generation.ts';
import { isEndedByOwner } from '../instance-states.ts';
import { reconcileStopGraceMs, removalsPerCellMax, removalsPerHostMax, removalWindowMs } from '../limits.ts';
import type { CellServices } from '../services.ts';
import type { InstanceRow } from '../store/instances.ts';
import { takeRemoval } from '../store/removals.ts';

const answerMs = 10_000;

/** The row with the generation that was taken for this removal: hosts refuse it once anything newer was decided. */
export type Removed = Pick<InstanceRow, 'id' | 'place_epoch'>;

export class Removals {
  readonly #services: CellServices;
  /** When each host's hold-up was last told of. */
  readonly #told = new Map<string, number>();

  constructor(services: CellServices) {
    this.#services = services;
  }

  /** Destroys a VM whose row proves that it may go. False: the budget is used up, a later report tries again. */
  destroy(hostId: string, row: Removed, proof: string): Promise<boolean> {
    return this.#within(hostId, row, proof, this.#destroyOf(hostId, row));
  }

  /**
   * Destroys a VM whose instance was terminated while its host was away. What its owner asked for has no budget: the row still
   * names this host, which only the termination itself leaves so, and no later change takes a termination back.
   */
  finish(
    hostId: string,
    row: Removed & Pick<InstanceRow, 'state' | 'state_reason'>,
    proof: string,
  ): Promise<boolean> {
    return isEndedByOwner(row)
      ? this.#end(hostId, row, proof, this.#destroyOf(hostId, row))
      : this.destroy(hostId, row, proof);
  }

  /** Stops a VM that runs where its row says stopped. Its guest is asked first: the row may be the one that is wrong. */
  stop(hostId: string, row: Removed, proof: string): Promise<boolean> {
    return this.#within(hostId, row, proof, (command) =>
      this.#services.hosts.call(
        hostId,
        'vm.stop',
        { command, instanceId: row.id, force: false, graceMs: reconcileStopGraceMs },
        { timeoutMs: reconcileStopGraceMs + answerMs },
      ),
    );
  }

  #destroyOf(hostId: string, { id: instanceId }: Removed): (command: CommandKey) => Promise<unknown> {
    return (command) => this.#services.hosts.call(hostId, 'vm.destroy', { command, instanceId });
  }

  async #within(
    hostId: string,
    row: Removed,
    proof: string,
    work: (command: CommandKey) => Promise<unknown>,
  ): Promise<boolean> {
    const { db } = this.#services;
    if (!(await db.transaction((tx) => takeRemoval(tx, hostId, row.id)))) {
      this.#tell(hostId);
      return false;
    }
    return this.#end(hostId, row, proof, work);
  }

  async #end(
    hostId: string,
    { id: instanceId, place_epoch }: Removed,
    proof: string,
    work: (command: CommandKey) => Promise<unknown>,
  ): Promise<true> {
    const { identity, log } = this.#services;
    log.warn({ host: hostId, instance: instanceId, proof }, 'reconciliation ends a VM');
    // A workflow id of its own each time: a record of an earlier such command must not answer for this one.
    const workflowId = newCellId('workflow', identity.cellNumber);
    await work({ workflowId, step: 'reconcile', epoch: 1, generation: generationOf(place_epoch) });
    return true;
  }

  /** Once a window and host. */
  #tell(hostId: string): void {
    const { clock, log } = this.#services;
    const now = clock.monotonicMs();
    if (now - (this.#told.get(hostId) ?? Number.NEGATIVE_INFINITY) < removalWindowMs) return;
    this.#told.set(hostId, now);
    log.error(
      { host: hostId, removalsPerHostMax, removalsPerCellMax, removalWindowMs },
      'ALARM: reconciliation would remove more VMs than its budget: it is held up. Is this the right store, and is it whole?',
    );
  }
}
