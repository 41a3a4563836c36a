/**
 * One VM of this host: its record, its VMM process, its monitor. What may be done to it lies in launch.ts, network.ts,
 * power.ts, destroy.ts and migration/; all of it runs in this VM's own queue, one command at a time.
 *
 *   absent → preparing → running ⇄ paused → stopped → running …      preparing → incoming → running
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VmReport, VmRequirement, VmState } from '#contracts/host.ts';
import { lastWords } from './console-log.ts';
import type { AgentContext } from './context.ts';
import { commandsWaitingPerVmMax, monitorPollMs, monitorReadyTimeoutMs } from './limits.ts';
import {
  identifyProcess,
  isAlive,
  killProcess,
  type ProcessIdentity,
  processGone,
  processUsage,
} from './process.ts';
import { Qmp, type QmpEvent } from './qmp.ts';
import { SerialQueue } from './serial-queue.ts';
import type { VmRecord } from './vm-record.ts';
import type { VmPaths } from './vm-store.ts';

const mib = 1024 * 1024;
const reconnectPauseMs = 500;
const lostMonitorPatienceMs = 2_000;

/** Reported of a VM to which nothing has been granted yet. */
const unclaimed: VmRequirement = { vcpus: 0.01, memoryMib: 1, rootDiskMib: 1 };

export class Vm {
  readonly record: VmRecord;
  readonly paths: VmPaths;
  readonly queue = new SerialQueue(commandsWaitingPerVmMax);
  readonly context: AgentContext;
  /** Set by destroy: commands that waited behind it find no VM any more. */
  removed = false;
  #qmp: Qmp | undefined;
  #shutdownReason: string | undefined;
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
    if (this.record.state === state && this.record.reason === reason) return;
    this.record.state = state;
    this.record.reason = reason;
    this.context.changed();
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

  async #connect(process: ProcessIdentity, timeoutMs: number): Promise<Qmp> {
    const until = monotonicMs() + timeoutMs;
    for (;;) {
      try {
        return await this.#dial(Math.max(1, until - monotonicMs()));
      } catch (error) {
        if (!(await isAlive(process)))
          throw new PandoError('InternalError', `The VMM ended at its start: ${await lastWords(this.paths)}`);
        if (monotonicMs() >= until) throw error;
      }
      await sleep(monitorPollMs);
    }
  }

  /** Through the directory's descriptor: a socket's path may have 107 bytes, a state directory's more. */
  async #dial(timeoutMs: number): Promise<Qmp> {
    const { run, monitor } = this.paths;
    const directory = await open(run, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      return await Qmp.connect(`/proc/self/fd/${directory.fd}/${basename(monitor)}`, timeoutMs);
    } finally {
      await directory.close();
    }
  }

  #onEvent({ name, data }: QmpEvent): void {
    if (name === 'RESUME') this.setState('running');
    else if (name === 'STOP' && this.record.state === 'running') this.setState('paused');
    else if (name === 'SHUTDOWN') this.#shutdownReason = String(data.reason ?? 'shutdown');
    // Not written down: whoever takes the VM over asks the VMM.
  }

  /** A lost monitor is a VMM that ended, or (rarely) only a lost socket: then it is dialled again for as long as it lives. */
  async #onMonitorLost(process: ProcessIdentity): Promise<void> {
    while (this.record.process === process && !this.removed && !this.context.closed) {
      if (await processGone(process, lostMonitorPatienceMs)) return this.ended();
      try {
        await this.attach(process, lostMonitorPatienceMs);
        return;
      } catch {
        await sleep(reconnectPauseMs);
      }
    }
  }

  /** Settles the record after the VMM's end; whoever notices first does it, once. */
  ended(): Promise<void> {
    if (this.record.process === undefined) return this.#ending ?? Promise.resolve();
    const { state } = this.record;
    this.record.process = undefined;
    this.#qmp?.close();
    this.#qmp = undefined;
    this.#ending = this.#settle(state === 'preparing' || state === 'incoming' ? 'failed' : 'stopped');
    return this.#ending;
  }

  async #settle(state: VmState): Promise<void> {
    const words = this.#shutdownReason ?? `the VMM ended: ${await lastWords(this.paths)}`;
    await this.context.cgroups.remove(this.record.instanceId);
    this.setState(state, words);
    await this.save();
  }

  /** Kills the VMM, if one runs, and settles. */
  async kill(): Promise<void> {
    const { process } = this.record;
    if (process === undefined) return this.#ending;
    await killProcess(process);
    await this.ended();
  }

  /** Gives the VMM more CPU time while a migration is under way, and takes it back. */
  async adjustCpuQuota(): Promise<void> {
    const { instanceId, requirement, migration } = this.record;
    const moving = migration !== undefined && !(migration.role === 'source' && migration.phase === 'failed');
    const { cgroups } = this.context;
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

  /** What is told of this VM; traffic is added by who asks the card. */
  async report(): Promise<VmReport> {
    const { instanceId, state, requirement = unclaimed, network, process, reason } = this.record;
    const usage = process === undefined ? undefined : await processUsage(process);
    return { instanceId, state, requirement, eniId: network?.port.eniId, ...usage, reason };
  }
}

/** What is told of a VM that this host does not have. */
export const absentReport = (instanceId: string): VmReport => ({
  instanceId,
  state: 'absent',
  requirement: unclaimed,
});
