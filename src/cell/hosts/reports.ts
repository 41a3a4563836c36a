/**
 * What hosts say, compared with what the store says. Level-triggered: each report is the whole truth of a host, so a lost one costs
 * nothing, and what differs is verified with the host once more before anything is done about it.
 */
import { createHash } from 'node:crypto';
import type { ParsedParams, Result } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { hostEventsContract, VmReport } from '#contracts/host.ts';
import { newCellId } from '#contracts/ids.ts';
import { stateReasons } from '../instance-states.ts';
import { type Begun, beginStop, beginTerminate, type Cause, nothingBegun } from '../lifecycle.ts';
import { reconcileEveryMs, reportEveryMs } from '../limits.ts';
import type { CellServices } from '../services.ts';
import {
  amountOf,
  countHosts,
  findHost,
  partOf,
  releaseCapacity,
  touchHosts,
  upsertHost,
} from '../store/hosts.ts';
import { changeInstance, type InstanceRow, listHostInstances, lockInstances } from '../store/instances.ts';
import type { HostCaller } from './sessions.ts';

type Hello = ParsedParams<typeof hostEventsContract, 'host.hello'>;
type Report = ParsedParams<typeof hostEventsContract, 'host.report'>;

interface Seen {
  digest: string;
  reconciledAt: number;
  running: boolean;
}

export interface HostReportsOptions {
  readonly services: CellServices;
  readonly owner: string;
  /** Hands begun workflows to the engine. */
  begun(begun: Begun): void;
}

const digestOf = (vms: readonly VmReport[]): string => {
  const hash = createHash('sha1');
  for (const vm of vms) hash.update(`${vm.instanceId}:${vm.state};`);
  return hash.digest('base64');
};

const guestShutdown: Cause = { reason: stateReasons.guestShutdown, words: '' };
const lostVm: Cause = { reason: stateReasons.lost, words: 'Server.InternalError' };

export class HostReports {
  readonly #options: HostReportsOptions;
  readonly #seen = new Map<string, Seen>();
  readonly #heard = new Map<string, 'ok' | 'degraded'>();

  constructor(options: HostReportsOptions) {
    this.#options = options;
  }

  async hello(hello: Hello, caller: HostCaller): Promise<Result<typeof hostEventsContract, 'host.hello'>> {
    const { services } = this.#options;
    const { db, identity, limits, oversubscription, log } = services;
    if (hello.zone !== identity.zone)
      throw new PandoError(
        'Conflict',
        `Host ${hello.hostId} is in ${hello.zone}, this cell in ${identity.zone}.`,
      );
    if ((await countHosts(db)) >= limits.hosts && (await findHost(db, hello.hostId)) === undefined)
      throw new PandoError('Conflict', `Cell ${identity.cellId} is full: ${limits.hosts} hosts (S3.7).`);
    await upsertHost(db, hello, oversubscription);
    services.hosts.attach(hello.hostId, caller);
    services.vpcs.forgetHost(hello.hostId);
    log.info({ host: hello.hostId, vms: hello.vms.length }, 'host connected');
    // After the answer: the host serves calls only once its hello is answered.
    setImmediate(() => {
      void this.#reconcileNetwork(hello.hostId).catch((error: unknown) =>
        log.warn(
          { host: hello.hostId, err: error },
          'the card’s state could not be compared: its next connection will',
        ),
      );
      this.#reconcileSoon(hello.hostId, hello.vms);
    });
    return { cellId: identity.cellId, reportEveryMs };
  }

  report(report: Report): Record<string, never> {
    this.#heard.set(report.hostId, report.card);
    this.#reconcileSoon(report.hostId, report.vms);
    return {};
  }

  gone(hostId: string, caller: HostCaller): void {
    const { services } = this.#options;
    if (!services.hosts.detach(hostId, caller)) return;
    services.vpcs.forgetHost(hostId);
    this.#seen.delete(hostId);
    services.log.warn({ host: hostId }, 'host disconnected');
  }

  /** Writes who was heard since the last time: one statement for all hosts. */
  async flushHeard(): Promise<void> {
    if (this.#heard.size === 0) return;
    const heard = [...this.#heard].map(([hostId, card]) => ({ hostId, card }));
    this.#heard.clear();
    await touchHosts(this.#options.services.db, heard);
  }

  async #reconcileNetwork(hostId: string): Promise<void> {
    const { services } = this.#options;
    await services.vpcs.reconcileHost(hostId, async () => {
      const rows = await listHostInstances(services.db, hostId);
      const present = rows.filter((row) => row.state !== 'terminated' && row.state !== 'stopped');
      return new Set(present.map((row) => row.vpc_id));
    });
  }

  /** Only what changed is compared with the store, and everything now and then. */
  #reconcileSoon(hostId: string, vms: readonly VmReport[]): void {
    const { clock, log } = this.#options.services;
    const digest = digestOf(vms);
    const seen = this.#seen.get(hostId) ?? { digest: '', reconciledAt: 0, running: false };
    this.#seen.set(hostId, seen);
    if (seen.running || (seen.digest === digest && clock.now() - seen.reconciledAt < reconcileEveryMs))
      return;
    seen.running = true;
    this.reconcile(hostId, vms)
      .then((settled) => {
        // What is in the hands of a workflow is looked at again with the next report.
        if (settled) Object.assign(seen, { digest, reconciledAt: clock.now() });
      })
      .catch((error: unknown) =>
        log.warn({ host: hostId, err: error }, 'a host’s report could not be compared'),
      )
      .finally(() => {
        seen.running = false;
      });
  }

  /** Compares a host's whole report with the store. Returns whether nothing is left that a later report must settle. */
  async reconcile(hostId: string, vms: readonly VmReport[]): Promise<boolean> {
    const { services } = this.#options;
    const reported = new Map(vms.map((vm) => [vm.instanceId, vm]));
    const rows = await listHostInstances(services.db, hostId);
    let settled = true;
    for (const row of rows) {
      const vm = reported.get(row.id);
      reported.delete(row.id);
      if (row.workflow_id !== null) settled = false;
      else if (row.other_host_id === hostId) settled = (await this.#finishMove(hostId, row)) && settled;
      else if (agrees(row, hostId, vm)) continue;
      else settled = (await this.#mend(hostId, row)) && settled;
    }
    for (const instanceId of reported.keys())
      settled = (await this.#reapUnknown(hostId, instanceId)) && settled;
    return settled;
  }

  /** The report may be older than the row: the host is asked now, and the row must still be the one that was compared. */
  async #mend(hostId: string, seen: InstanceRow): Promise<boolean> {
    const { services, owner } = this.#options;
    const vm = await services.hosts.call(hostId, 'vm.describe', { instanceId: seen.id });
    if (agrees(seen, hostId, vm)) return true;
    if (seen.state === 'terminated') return this.#finishTermination(hostId, seen, vm);
    if (seen.state === 'stopped') {
      await this.#command(hostId, seen.id, 'vm.stop');
      return false;
    }
    const begun = await services.db.transaction(async (tx) => {
      const [row] = await lockInstances(tx, undefined, [seen.id]);
      // Closes the race with a request that changed the instance after the host was asked.
      if (row === undefined || row.version !== seen.version) return nothingBegun;
      const actor = { services, owner };
      if (vm.state === 'stopped' && row.spec.shutdownBehavior === 'terminate')
        return beginTerminate(actor, tx, row, guestShutdown);
      return beginStop(actor, tx, row, true, vm.state === 'stopped' ? guestShutdown : lostVm);
    });
    this.#options.begun(begun);
    return false;
  }

  /** The host was away when its instance was terminated: now the VM goes, then the capacity comes back. */
  async #finishTermination(hostId: string, seen: InstanceRow, vm: VmReport): Promise<boolean> {
    const { services } = this.#options;
    if (vm.state !== 'absent') await this.#command(hostId, seen.id, 'vm.destroy');
    await services.db.transaction(async (tx) => {
      const [row] = await lockInstances(tx, undefined, [seen.id]);
      if (row === undefined || row.version !== seen.version || row.host_id !== hostId) return;
      await releaseCapacity(tx, hostId, partOf(amountOf(row), row.held));
      await changeInstance(tx, row.id, { host_id: null, held: 'none' });
    });
    return true;
  }

  /** The other host of a migration was away when that ended: now its copy goes, then the capacity comes back. */
  async #finishMove(hostId: string, seen: InstanceRow): Promise<boolean> {
    const { services } = this.#options;
    await this.#command(hostId, seen.id, 'vm.destroy');
    await services.db.transaction(async (tx) => {
      const [row] = await lockInstances(tx, undefined, [seen.id]);
      if (row === undefined || row.workflow_id !== null || row.other_host_id !== hostId) return;
      await releaseCapacity(tx, hostId, amountOf(row));
      await changeInstance(tx, row.id, { other_host_id: null });
    });
    return true;
  }

  /** A VM that no row places here: of an instance that ended, or that moved away, is destroyed. */
  async #reapUnknown(hostId: string, instanceId: string): Promise<boolean> {
    const { services } = this.#options;
    const [row] = await services.db.query<InstanceRow>('select * from instances where id = $1', [instanceId]);
    if (
      row !== undefined &&
      (row.workflow_id !== null || row.host_id === hostId || row.other_host_id === hostId)
    )
      return false;
    services.log.warn(
      { host: hostId, instance: instanceId },
      'the host has a VM that is not its own: destroying it',
    );
    await this.#command(hostId, instanceId, 'vm.destroy');
    return true;
  }

  async #command(hostId: string, instanceId: string, method: 'vm.destroy' | 'vm.stop'): Promise<void> {
    const { hosts, identity } = this.#options.services;
    // A workflow id of its own each time: a record of an earlier such command must not answer for this one.
    const command = { workflowId: newCellId('workflow', identity.cellNumber), step: 'reconcile', epoch: 1 };
    if (method === 'vm.destroy') await hosts.call(hostId, method, { command, instanceId });
    else await hosts.call(hostId, method, { command, instanceId, force: true, graceMs: 0 });
  }
}

/** Whether a host's VM is as the row has it; only for rows that no workflow holds. */
const agrees = (row: InstanceRow, hostId: string, vm: VmReport | undefined): boolean => {
  const state = vm?.state ?? 'absent';
  if (row.state === 'terminated') return row.host_id === null;
  if (row.host_id !== hostId) return true;
  if (row.state === 'running') return state !== 'absent' && state !== 'stopped' && state !== 'failed';
  return row.state !== 'stopped' || state !== 'running';
};
