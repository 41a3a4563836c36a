/**
 * VMs that a host has and that no row places there. An absence proves nothing: a failover may have lost commits, a backup may have been
 * restored, a host may have dialled the wrong cell. Such a VM runs on in quarantine until an operator adopts or removes it; it is
 * never removed by itself, however long that takes.
 */
import type { VmReport } from '#contracts/host.ts';
import { cellNumberOf } from '#contracts/ids.ts';
import { isEndedByOwner } from '../instance-states.ts';
import type { CellServices } from '../services.ts';
import { findPlaced, type InstanceRow, type PlacedInstance } from '../store/instances.ts';
import {
  isLeftAsNewer,
  listUnshown,
  type QuarantineReason,
  quarantineVm,
  releaseQuarantine,
  type UnshownVm,
} from '../store/quarantine.ts';
import { isAhead, raiseGeneration, takeGeneration } from './generations.ts';
import type { Removals } from './removals.ts';

/** `gone`: the VM may be removed here. `later`: it is in the hands of a workflow, or cannot be judged now. Else: into quarantine. */
type Verdict =
  | { readonly kind: 'gone'; readonly row: InstanceRow; readonly proof: string }
  | { readonly kind: 'later' }
  | QuarantineReason;

const neverHadGuest: ReadonlySet<VmReport['state']> = new Set<VmReport['state']>([
  'preparing',
  'incoming',
  'failed',
]);

export class Quarantine {
  readonly #services: CellServices;
  readonly #removals: Removals;
  /** How many VMs of each connected host are in quarantine. */
  readonly #counts = new Map<string, number>();

  constructor(services: CellServices, removals: Removals) {
    this.#services = services;
    this.#removals = removals;
  }

  /** VMs in quarantine on the hosts that this processor hears. */
  get size(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  forgetHost(hostId: string): void {
    this.#counts.delete(hostId);
  }

  /** Settles all VMs of a host that no row places there. Returns whether nothing is left that a later report must settle. */
  async settle(hostId: string, unknown: readonly VmReport[]): Promise<boolean> {
    const kept: string[] = [];
    let settled = true;
    for (const vm of unknown)
      try {
        settled = (await this.#settleOne(hostId, vm, kept)) && settled;
      } catch (err) {
        // One that cannot be judged or removed now does not keep the others from being told of.
        settled = false;
        this.#services.log.warn({ host: hostId, instance: vm.instanceId, err }, 'a stranger was not settled');
      }
    // A busy host is compared with each report: where nothing was and nothing is, the store is not asked.
    if (kept.length > 0 || this.#counts.get(hostId) !== 0) {
      const stay = await this.#releaseUnshown(hostId, kept);
      this.#counts.set(hostId, kept.length + stay);
      if (stay > 0) settled = false;
    }
    return settled;
  }

  /** What goes into quarantine is added to `kept`. */
  async #settleOne(hostId: string, vm: VmReport, kept: string[]): Promise<boolean> {
    const verdict = await this.#judge(hostId, vm);
    if (typeof verdict === 'string') {
      kept.push(vm.instanceId);
      // The report may be older than a row that an operator's adoption has written meanwhile: the next one is compared too.
      return !(await this.#keep(hostId, vm, verdict));
    }
    return verdict.kind === 'gone' && this.#remove(hostId, verdict);
  }

  /** Ends the quarantine of what the report does not show as a stranger. Returns how many stay in it. */
  async #releaseUnshown(hostId: string, shown: readonly string[]): Promise<number> {
    const { db, log } = this.#services;
    const unshown = await listUnshown(db, hostId, shown);
    if (unshown.length === 0) return 0;
    for (const seen of unshown)
      if ((await this.#isOver(seen)) && (await releaseQuarantine(db, seen)))
        log.info({ host: hostId, instance: seen.instance_id }, 'no longer in quarantine');
    // Another processor may have ended some of them first.
    return (await listUnshown(db, hostId, shown)).length;
  }

  /** The report may be older than the quarantine, so that it proves nothing: a row has the VM by now, or its host says that it is gone. */
  async #isOver({ instance_id: instanceId, host_id: hostId }: UnshownVm): Promise<boolean> {
    const { db, hosts, log } = this.#services;
    const row = await findPlaced(db, instanceId);
    if (row?.host_id === hostId || row?.migration_host === hostId) return true;
    try {
      return (await hosts.call(hostId, 'vm.describe', { instanceId })).state === 'absent';
    } catch (error) {
      log.warn({ host: hostId, instance: instanceId, err: error }, 'a host did not show whether it has a VM');
      return false;
    }
  }

  async #remove(hostId: string, { row, proof }: Extract<Verdict, { kind: 'gone' }>): Promise<boolean> {
    const taken = await takeGeneration(this.#services.db, row);
    return taken !== undefined && this.#removals.destroy(hostId, taken, proof);
  }

  /** Returns whether it is new there. */
  async #keep(hostId: string, vm: VmReport, reason: QuarantineReason): Promise<boolean> {
    const { db, log } = this.#services;
    const isNew = await quarantineVm(db, hostId, vm, reason);
    if (isNew)
      log.error(
        { host: hostId, instance: vm.instanceId, state: vm.state, reason },
        'ALARM: a VM that no row accounts for is left alone, in quarantine: pando vm list --quarantined',
      );
    return isNew;
  }

  async #judge(hostId: string, vm: VmReport): Promise<Verdict> {
    const { db, identity } = this.#services;
    if (cellNumberOf(vm.instanceId) !== identity.cellNumber) return 'other-cell';
    const row = await findPlaced(db, vm.instanceId);
    if (row === undefined) return 'no-row';
    // Changed since the rows of this host were read: the next report is compared with what it is now.
    if (row.workflow_id !== null || row.host_id === hostId || row.migration_host === hostId)
      return { kind: 'later' };
    if (row.state === 'terminated') return this.#judgeEnded(hostId, row, vm);
    // The report may be older than what the copy has become: a target that has received everything runs by itself.
    const here = await this.#services.hosts.call(hostId, 'vm.describe', { instanceId: vm.instanceId });
    return here.state === 'absent' ? { kind: 'later' } : this.judgeCopy(hostId, here, row);
  }

  /** The end of a VM that has lived on since, by what its host has heard, is the word of a store that has lost commits. */
  async #judgeEnded(hostId: string, row: InstanceRow, { generation }: VmReport): Promise<Verdict> {
    if (isAhead(row, generation)) {
      if (!isEndedByOwner(row)) return 'newer';
      await raiseGeneration(this.#services.db, row, generation);
      return { kind: 'later' };
    }
    // A report may have raised the row to what the host has heard before the workflow ended that was refused for it: what it left stays.
    if (!isEndedByOwner(row) && (await isLeftAsNewer(this.#services.db, row.id, hostId))) return 'newer';
    return { kind: 'gone', row, proof: `terminated: ${row.state_reason?.Code ?? 'no reason kept'}` };
  }

  /** Whether a copy on a host that is not the instance's may go: only when the instance's own host shows that it has the guest. */
  async judgeCopy(hostId: string, here: VmReport, row: PlacedInstance): Promise<Verdict> {
    const { hosts, log } = this.#services;
    if (here.state === 'absent') return { kind: 'gone', row, proof: 'it is not here' };
    if (row.host_id === null || row.host_id === hostId || here.state === 'running') return 'elsewhere';
    try {
      const there = await hosts.call(row.host_id, 'vm.describe', { instanceId: row.id });
      // A launch that failed may have been a start: one that knows of a later change than the store may have the newer disk.
      const hadNone = neverHadGuest.has(here.state) && !isAhead(row, here.generation);
      const hasGuest = there.state === 'running' || (there.state === 'stopped' && hadNone);
      const left = there.state === 'stopped' && row.migration_host === hostId;
      return hasGuest || left
        ? { kind: 'gone', row, proof: `${there.state} on ${row.host_id}` }
        : 'elsewhere';
    } catch (error) {
      log.warn(
        { host: row.host_id, instance: row.id, err: error },
        'a host did not show whether it has an instance',
      );
      return { kind: 'later' };
    }
  }
}
