/**
 * One VM of this host: its record, its VMM process, its monitor. What may be done to it lies in launch.ts, network.ts,
 * power.ts, destroy.ts and migration/; all of it runs in this VM's own queue, one command at a time.
 *
 *   absent → preparing → running ⇄ paused → stopped → running …      preparing → incoming → running
 *
 * Why it stopped is written down (`ended`, see end-cause.ts). A guest that shuts itself down leaves a VMM that stands still: only when
 * the cause is on disk is that VMM told to quit, so that an agent which dies on the way finds it still saying so.
 */
import { chown, lstat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VmEnded, VmReport, VmRequirement, VmState } from '#contracts/host.ts';
import { lastWords } from './console-log.ts';
import type { AgentContext } from './context.ts';
import { DirectoryWatch } from './directory-watch.ts';
import { endOf, guestShutdown } from './end-cause.ts';
import { GuestWatch } from './guest-watch.ts';
import {
  commandsWaitingPerVmMax,
  exitKnownMsMax,
  monitorLookMs,
  monitorPollMs,
  monitorReadyTimeoutMs,
  quitMsMax,
} from './limits.ts';
import { runInfo } from './migration/facts.ts';
import {
  identifyProcess,
  isAlive,
  killProcess,
  type ProcessIdentity,
  processGone,
  processUsage,
} from './process.ts';
import { Qmp, type QmpEvent } from './qmp.ts';
import { standsStillWithoutSpace } from './run-state.ts';
import { SerialQueue } from './serial-queue.ts';
import { withSocket } from './untrusted.ts';
import type { VmRecord } from './vm-record.ts';
import type { VmPaths } from './vm-store.ts';

const mib = 1024 * 1024;
const reconnectPauseMs = 500;
const lostMonitorPatienceMs = 2_000;
/** Of a VM that is paused, for people. */
const noSpaceReason = "the host's disk is full: it goes on once there is room";

/** Reported of a VM to which nothing has been granted yet. */
const unclaimed: VmRequirement = { vcpus: 0.01, memoryMib: 1, rootDiskMib: 1 };

export class Vm {
  readonly record: VmRecord;
  readonly paths: VmPaths;
  readonly queue = new SerialQueue(commandsWaitingPerVmMax);
  readonly context: AgentContext;
  /** What is known of how its guest is. */
  readonly watch = new GuestWatch();
  /** Set by destroy: commands that waited behind it find no VM any more. */
  removed = false;
  #qmp: Qmp | undefined;
  #shutdownReason: string | undefined;
  /** How the process ended, as its parent sees it; undefined where that was an earlier agent. */
  #exit: Promise<string> | undefined;
  #ending: Promise<void> | undefined;

  constructor(record: VmRecord, context: AgentContext) {
    this.record = record;
    this.context = context;
    this.paths = context.store.paths(record.instanceId);
  }

  /** The monitor. Fails with `IncorrectInstanceState` when no VMM runs, `NotReady` when it does not answer just now. */
  get monitor(): Qmp {
    if (this.#qmp !== undefined && !this.#qmp.closed) return this.#qmp;
    if (this.record.process === undefined)
      throw new PandoError(
        'IncorrectInstanceState',
        `${this.record.instanceId} is ${this.record.state}; no VMM runs.`,
      );
    throw new PandoError('NotReady', `The VMM of ${this.record.instanceId} does not answer.`);
  }

  save(): Promise<void> {
    return this.removed ? Promise.resolve() : this.context.store.save(this.record);
  }

  setState(state: VmState, reason?: string): void {
    const { record } = this;
    if (record.state === state && record.reason === reason) return;
    // Of a launch the cell hears by its answer: a report costs every processor and the store more than that.
    const isLaunch = state === 'preparing' || (record.state === 'preparing' && state === 'running');
    record.state = state;
    record.reason = reason;
    if (state === 'running') record.hasRun = true;
    if (!isLaunch) this.context.changed();
  }

  /** Takes a process as this VM's VMM, connects to its monitor and follows its life from here on. */
  async attach(process: ProcessIdentity, timeoutMs = monitorReadyTimeoutMs): Promise<Qmp> {
    this.record.process = process;
    this.#shutdownReason = undefined;
    const qmp = await this.#connect(process, timeoutMs);
    this.#qmp = qmp;
    qmp.on('event', (event) => this.#onEvent(event));
    qmp.on('close', () => {
      this.#onMonitorLost(process).catch((error: unknown) =>
        this.context.log.error(
          { err: error, instanceId: this.record.instanceId },
          'the end of a VMM was not settled',
        ),
      );
    });
    return qmp;
  }

  /**
   * Takes over a VMM that was started or left earlier, and tells what its monitor says of the guest. A guest that has shut itself
   * down while nobody listened is settled here.
   */
  async takeOver(process: ProcessIdentity, timeoutMs = monitorReadyTimeoutMs): Promise<string> {
    const qmp = await this.attach(process, timeoutMs);
    // Of the last release: it would end with its guest, and nobody could tell why if we were away.
    await qmp.execute('set-action', { shutdown: 'pause' });
    const { status } = await qmp.query(runInfo, 'query-status');
    this.watch.found();
    this.watch.saw(status, await standsStillWithoutSpace(qmp, status));
    if (status === 'shutdown') await this.#guestShutDown();
    return status;
  }

  async #connect(process: ProcessIdentity, timeoutMs: number): Promise<Qmp> {
    const until = monotonicMs() + timeoutMs;
    // Before the first look: what appears after it is not missed.
    using sockets = new DirectoryWatch(this.paths.sockets);
    for (;;) {
      try {
        return await this.#dial(Math.max(1, until - monotonicMs()));
      } catch (error) {
        if (!(await isAlive(process)))
          throw new PandoError('InternalError', `The VMM ended at its start: ${await lastWords(this.paths)}`);
        if (monotonicMs() >= until) throw error;
      }
      // Its listener follows the socket's file at once; a VMM that was found running may have it already.
      await (sockets.hasChanged ? sleep(monitorPollMs) : sockets.change(monitorLookMs));
    }
  }

  /** A VMM that answers has made all its sockets: from here on their directory is root's, and no guest has run yet. */
  async #dial(timeoutMs: number): Promise<Qmp> {
    const { sockets, monitor, formerMonitor } = this.paths;
    const isFormer = (await lstat(sockets).catch(() => undefined)) === undefined;
    const path = isFormer ? formerMonitor : monitor;
    const qmp = await withSocket(path, this.record.uid, (found) => Qmp.connect(found, timeoutMs));
    if (!isFormer) await chown(sockets, 0, 0);
    return qmp;
  }

  #onEvent(event: QmpEvent): void {
    const { name, data } = event;
    this.watch.onEvent(event);
    if (name === 'RESUME') this.setState('running');
    else if (name === 'SHUTDOWN') this.#onShutdown(String(data.reason ?? 'shutdown'));
    else if (name === 'RESET') this.context.changed();
    else if (name === 'STOP' && this.#shutdownReason === undefined && this.record.state === 'running')
      this.setState('paused', this.watch.noSpace ? noSpaceReason : undefined);
    // Not written down: whoever takes the VM over asks the VMM.
  }

  #onShutdown(reason: string): void {
    this.#shutdownReason = reason;
    if (reason !== guestShutdown) return;
    this.#guestShutDown().catch((error: unknown) =>
      this.context.log.error(
        { err: error, instanceId: this.record.instanceId },
        'a guest shut itself down, and its VMM was not ended',
      ),
    );
  }

  /** The guest has shut itself down and its VMM stands still: the cause is written down, then the VMM goes. */
  async #guestShutDown(): Promise<void> {
    const { record } = this;
    const { process } = record;
    if (process === undefined) return;
    this.#shutdownReason = guestShutdown;
    record.ended ??= this.#end(undefined);
    await this.save();
    await this.quit();
    await killProcess(process);
    await this.ended();
  }

  /** Ends the VMM, but lets it write its disk's tables first: what a tenant's disk was told survives. */
  async quit(): Promise<void> {
    const { process } = this.record;
    if (process === undefined) return;
    try {
      await this.monitor.execute('quit');
      await processGone(process, quitMsMax);
    } catch {
      // It does not listen: whoever asked kills it next.
    }
  }

  /** Writes down that we ask the guest or its VMM to end, before we do: an end from here on is no shutdown of the guest's own. */
  async askToEnd(): Promise<void> {
    if (this.record.endAsked === true) return;
    this.record.endAsked = true;
    await this.save();
  }

  /** A lost monitor is a VMM that ended, or (rarely) only a lost socket: then it is dialled again for as long as it lives. */
  async #onMonitorLost(process: ProcessIdentity): Promise<void> {
    while (this.record.process === process && !this.removed && !this.context.closed) {
      if (await processGone(process, lostMonitorPatienceMs)) return this.ended();
      try {
        await this.takeOver(process, lostMonitorPatienceMs);
        return;
      } catch {
        await sleep(reconnectPauseMs);
      }
    }
  }

  /** Settles the record after the VMM's end; whoever notices first does it, once. */
  ended(): Promise<void> {
    if (this.record.process === undefined) return this.#ending ?? Promise.resolve();
    this.record.process = undefined;
    this.#qmp?.close();
    this.#qmp = undefined;
    this.#ending = this.#settle();
    return this.#ending;
  }

  /** A new agent found no process of it. */
  foundGone(): Promise<void> {
    this.record.process = undefined;
    this.#ending = this.#settle();
    return this.#ending;
  }

  async #settle(): Promise<void> {
    const { record } = this;
    const { state } = record;
    const words = this.#shutdownReason ?? `the VMM ended: ${await lastWords(this.paths)}`;
    const exit = await this.#howItExited();
    await this.context.cgroups.remove(record.instanceId);
    record.ended ??= this.#end(exit, words === this.#shutdownReason ? undefined : words);
    this.setState(state === 'preparing' || state === 'incoming' ? 'failed' : 'stopped', words);
    await this.save();
  }

  #end(exit: string | undefined, words?: string): VmEnded {
    const { state, endAsked, bootId: startedUnder } = this.record;
    const shutdownReason = this.#shutdownReason;
    const { bootId } = this.context;
    return endOf(
      { state, asked: endAsked === true, shutdownReason, exit, startedUnder, bootId, words },
      new Date(),
    );
  }

  /** The process is gone, but its parent may hear of it a moment later. */
  async #howItExited(): Promise<string | undefined> {
    if (this.#exit === undefined) return undefined;
    const late = sleep(exitKnownMsMax, undefined, { ref: false });
    return Promise.race([this.#exit, late]);
  }

  /** A new VMM is about to be started: what was known of the last one's end is over. */
  starting(exit: Promise<string>): void {
    this.record.ended = undefined;
    this.record.endAsked = undefined;
    this.record.bootId = this.context.bootId;
    this.watch.found();
    this.#exit = exit;
  }

  /** Kills the VMM, if one runs, and settles. By default the end counts as asked for. */
  async kill(asked = true): Promise<void> {
    const { process } = this.record;
    if (process === undefined) return this.#ending;
    if (asked && (await isAlive(process))) await this.askToEnd();
    await killProcess(process);
    await this.ended();
  }

  /** Gives the VMM more CPU time and its way to the other VMM while a migration is under way, and takes both back. */
  async adjustCpuQuota(): Promise<void> {
    const { instanceId, requirement, migration } = this.record;
    const moving = migration !== undefined && !(migration.role === 'source' && migration.phase === 'failed');
    const { cgroups, fence } = this.context;
    await fence.set(this.record.uid, moving ? migration : undefined);
    if (requirement !== undefined) await cgroups.setMigrationCpuQuota(instanceId, requirement.vcpus, moving);
    await cgroups.setLowCpuShares(instanceId, false);
  }

  /** Whether the VMM's process runs now. */
  async alive(): Promise<boolean> {
    const { process } = this.record;
    return process !== undefined && (await isAlive(process));
  }

  /** Identifies a process just started as our VMM, and writes it down. */
  async started(pid: number): Promise<ProcessIdentity> {
    const identity = await identifyProcess(pid);
    if (identity === undefined)
      throw new PandoError('InternalError', `The VMM ended at its start: ${await lastWords(this.paths)}`);
    this.record.process = identity;
    await this.save();
    return identity;
  }

  /** Lets go of the monitor; the VMM runs on. */
  detach(): void {
    this.#qmp?.close();
  }

  /** Memory of the VMM that is in RAM now; 0 when none runs. */
  async residentMib(): Promise<number> {
    const { process } = this.record;
    const usage = process === undefined ? undefined : await processUsage(process);
    return (usage?.residentBytes ?? 0) / mib;
  }

  /** On its way to or from another host: what its VMM says of its state is the migration's doing. */
  get isMoving(): boolean {
    const { migration } = this.record;
    if (migration?.role !== 'source') return migration !== undefined;
    return migration.phase === 'switching' || migration.phase === 'completed';
  }

  /** What is told of this VM; traffic is added by who asks the card. */
  async report(): Promise<VmReport> {
    const { instanceId, state, requirement = unclaimed, network, process, reason, ended } = this.record;
    const usage = process === undefined ? undefined : await processUsage(process);
    const end = process === undefined ? ended : undefined;
    const generation = this.record.fence?.generation;
    const eniId = network?.port.eniId;
    // Of a guest that has not begun there is nothing to tell, and its cell may have its row as running before this report arrives.
    const isBegun = process !== undefined && state !== 'preparing' && !this.isMoving;
    const health = isBegun ? this.watch.health() : undefined;
    return { instanceId, state, requirement, eniId, ...usage, reason, ended: end, generation, health };
  }
}

/** What is told of a VM that this host does not have. */
export const absentReport = (instanceId: string): VmReport => ({
  instanceId,
  state: 'absent',
  requirement: unclaimed,
});
