/**
 * The source's side of a migration. First the disk is mirrored, then memory is copied while the guest runs. QEMU would
 * pause the guest by itself as soon as little is left. So it is told to wait for an acknowledgement of the target that
 * never comes (`switchover-ack` on this side alone): it goes over only once we have stopped the guest. Meanwhile
 * memory is held to a crawl.
 *
 * Every step is taken from what the VMM says, so that another agent process can carry on after a crash.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { hostContract, MigrationCredential, VmState } from '#contracts/host.ts';
import { diskListenerTimeoutS } from '../limits.ts';
import { rootNode } from '../qemu-command.ts';
import { QmpError } from '../qmp.ts';
import type { Vm } from '../vm.ts';
import type { MigrationRecord } from '../vm-record.ts';
import {
  convergedBytesMax,
  firstPassEnded,
  isEnded,
  isOver,
  jobInfo,
  type MigrateInfo,
  migrateInfo,
  mirrorJob,
  progressMark,
  remoteNode,
  runInfo,
} from './facts.ts';
import { keepRedirect, takeRedirectBack } from './redirect.ts';
import { forgetOffer, offeredCredential, type Secured, secure, unsecure } from './secure.ts';
import { Standstill, StoodStill } from './standstill.ts';

type Source = Extract<MigrationRecord, { role: 'source' }>;
type StartParams = z.output<(typeof hostContract)['migrate.start']['params']>;
export type Progress = z.output<(typeof hostContract)['migrate.progress']['result']>;

const mib = 1024 * 1024;
const watchEveryMs = 10;
export const unlimitedBytesPerS = 16 * 1024 * mib;
const crawlBytesPerS = 64 * 1024;
const cancelTimeoutMs = 10_000;

const capabilities = [
  'events',
  'pause-before-switchover',
  'auto-converge',
  'return-path',
  'switchover-ack',
].map((capability) => ({ capability, state: true }));

export const sourceOf = (vm: Vm): Source | undefined =>
  vm.record.migration?.role === 'source' ? vm.record.migration : undefined;

const bandwidth = ({ bandwidthMaxMibPerS }: Source): number =>
  bandwidthMaxMibPerS === undefined ? unlimitedBytesPerS : Math.max(1, Math.round(bandwidthMaxMibPerS * mib));

/** Starts the copy and returns. While one is under way: nothing more. */
export const startMigration = async (vm: Vm, params: StartParams): Promise<void> => {
  const { record, monitor } = vm;
  const present = sourceOf(vm);
  if (present?.phase === 'copying' && present.memoryUri === params.memoryUri) return watch(vm);
  if (record.state !== 'running')
    throw new PandoError(
      'IncorrectInstanceState',
      `${record.instanceId} is ${record.state}; only a running VM moves.`,
    );
  const { memoryUri, diskUri, bandwidthMaxMibPerS } = params;
  const source: Source = { role: 'source', memoryUri, diskUri, bandwidthMaxMibPerS, phase: 'copying' };
  record.migration = source;
  await vm.save();
  await vm.adjustCpuQuota();
  try {
    await dropMirror(vm);
    await monitor.execute('migrate-set-capabilities', { capabilities });
    await setBandwidth(vm, bandwidth(source));
    await startMirror(vm, source, await proveAndExpect(vm, params.peer));
  } catch (error) {
    record.migration = undefined;
    await dropMirror(vm);
    await unsecure(vm);
    await vm.save();
    await vm.adjustCpuQuota();
    throw error;
  }
  forgetOffer(vm);
  watch(vm);
};

/** What the channel to the target's VMM is given, for which `target` vouches. */
const proveAndExpect = async (vm: Vm, target: MigrationCredential | undefined): Promise<Secured['disk']> => {
  if (vm.context.config.migrationTls === 'off') return {};
  if (target === undefined)
    throw new PandoError('AccessDenied', `Nobody vouches for the target of ${vm.record.instanceId}.`);
  return (await secure(vm, 'source', offeredCredential(vm), target)).disk;
};

const setBandwidth = (vm: Vm, bytesPerS: number): Promise<unknown> =>
  vm.monitor.execute('migrate-set-parameters', { 'max-bandwidth': bytesPerS });

/** Copies the overlay alone: the target's disk stands on the same base. */
const startMirror = async ({ monitor }: Vm, source: Source, tls: Secured['disk']): Promise<void> => {
  const uri = new URL(source.diskUri);
  await monitor.execute('blockdev-add', {
    driver: 'nbd',
    'node-name': remoteNode,
    server: { type: 'inet', host: uri.hostname, port: uri.port },
    export: uri.pathname.slice(1),
    discard: 'unmap',
    'open-timeout': diskListenerTimeoutS,
    ...tls,
  });
  await monitor.execute('blockdev-mirror', {
    'job-id': mirrorJob,
    device: rootNode,
    target: remoteNode,
    sync: 'top',
    'copy-mode': 'write-blocking',
    'auto-dismiss': false,
    speed: source.bandwidthMaxMibPerS === undefined ? 0 : bandwidth(source),
  });
};

interface Watch {
  converged: boolean;
  readonly standstill: Standstill;
  /** Passes over memory and bytes sent when the last pass ended. */
  passes?: { count: number; bytes: number };
}

const watches = new Map<Vm, Watch>();

/** Follows a copy until it is over; at most one watcher a VM. */
const watch = (vm: Vm, resumed = false): void => {
  if (watches.has(vm)) return;
  const standstill = new Standstill(vm.context.config.migrationStallMsMax);
  const memory: Watch = { converged: false, standstill };
  watches.set(vm, memory);
  void follow(vm, memory, resumed)
    .catch((error: unknown) => fail(vm, error))
    .catch((error: unknown) => vm.context.log.warn({ err: error }, 'a failed migration was not tidied'))
    .finally(() => watches.delete(vm));
};

const follow = async (vm: Vm, memory: Watch, resumed: boolean): Promise<void> => {
  const source = sourceOf(vm);
  // A former agent may have left it at a crawl, under which passes would never end.
  if (resumed && source !== undefined) await setBandwidth(vm, bandwidth(source));
  while (!vm.removed && !vm.context.closed && sourceOf(vm)?.phase === 'copying') {
    await tick(vm, memory);
    await sleep(watchEveryMs);
  }
};

/** One look at the VMM, and the one step that follows from it. */
const tick = async (vm: Vm, memory: Watch): Promise<void> => {
  const source = sourceOf(vm);
  if (source === undefined) return;
  const job = await mirrorOf(vm);
  if (job === undefined || isOver(job))
    throw new Error(`the disk's copy ended: ${job?.error ?? 'no reason given'}`);
  const info = await vm.monitor.query(migrateInfo, 'query-migrate');
  if (sourceOf(vm)?.phase !== 'copying') return;
  // A copy that has converged waits for its switch, which has a budget of its own.
  if (!memory.converged) memory.standstill.look(progressMark(job, info));
  if (job.status !== 'ready') return;
  if (!source.sending) return startSending(vm, source, info);
  if (isEnded(info)) throw new Error(info['error-desc'] ?? `the memory's copy ended: ${info.status}`);
  if (info.status !== 'active' || memory.converged || !passIsShort(memory, info)) return;
  memory.converged = true;
  await crawl(vm);
};

/**
 * Until it sends, the VMM tells of an earlier migration: one that brought its guest here, or one that failed. Only then is
 * what it says of this one; a former agent may have begun to send and died before it wrote that down.
 */
const startSending = async (vm: Vm, source: Source, info: MigrateInfo): Promise<void> => {
  if (isEnded(info)) await vm.monitor.execute('migrate', { uri: source.memoryUri });
  source.sending = true;
  await vm.save();
};

/** Whether the passes over memory have become short: what one of them sends is what a switch would have to send. */
const passIsShort = (memory: Watch, { ram }: MigrateInfo): boolean => {
  if (ram === undefined) return false;
  const now = { count: ram['dirty-sync-count'], bytes: ram.transferred };
  const before = memory.passes;
  if (now.count < firstPassEnded) return false;
  if (before === undefined || now.count > before.count) memory.passes = now;
  if (before === undefined || now.count === before.count) return false;
  return (now.bytes - before.bytes) / (now.count - before.count) <= convergedBytesMax;
};

/** The copy cannot go on: the guest runs on here, and the reason is kept for `migrate.progress`. */
const fail = async (vm: Vm, error: unknown): Promise<void> => {
  const source = sourceOf(vm);
  if (source?.phase !== 'copying') return;
  if (!(await vm.alive())) return;
  // A former agent has switched over and died before it wrote that down.
  if (await hasHandedOver(vm)) return settleHandedOver(vm, source);
  // A peer that says nothing would hold up every request to it, the one to end among them.
  if (error instanceof StoodStill) await cutOff(vm);
  if (!(await abandon(vm, source))) return settleHandedOver(vm, source);
  source.phase = 'failed';
  source.reason = error instanceof Error ? error.message : String(error);
  await vm.save();
  await vm.adjustCpuQuota();
};

/** The memory's copy keeps up, and leaves the network and the CPU to others. */
export const crawl = (vm: Vm): Promise<unknown> => setBandwidth(vm, crawlBytesPerS);

/**
 * A switch that cannot be completed: the guest runs on here, then its packets come to it again. Throws when the guest was handed over after all.
 */
export const giveUpSwitch = async (vm: Vm): Promise<void> => {
  const redirect = sourceOf(vm)?.redirect;
  await cancelMigration(vm);
  if (redirect !== undefined) await takeRedirectBack(vm, redirect.eniId);
};

const settleHandedOver = async (vm: Vm, source: Source): Promise<void> => {
  source.phase = 'completed';
  vm.setState('paused', 'migrated away');
  await vm.save();
  await keepRedirect(vm);
};

/** Whether the VMM has given everything to the target's: from then on nobody lets the guest run here again (S6.5, S7.4). */
export const hasHandedOver = async (vm: Vm): Promise<boolean> => {
  // What it says of a migration before it sends is of an earlier one.
  if (sourceOf(vm)?.sending !== true) return false;
  try {
    return (await vm.monitor.query(migrateInfo, 'query-migrate')).status === 'completed';
  } catch {
    return false; // No VMM any more: nothing can run here.
  }
};

export const mirrorOf = async (vm: Vm) =>
  (await vm.monitor.query(jobInfo, 'query-jobs')).find(({ id }) => id === mirrorJob);

/**
 * After a restart of the agent: copies that were under way are followed on; a switch that the former agent did not end is taken back,
 * unless the VMM says that it has handed over. VMs without a migration are left alone.
 */
export const resumeSources = (vms: readonly Vm[]): void => {
  for (const vm of vms) {
    if (vm.record.process === undefined) continue;
    const phase = sourceOf(vm)?.phase;
    if (phase === 'copying') watch(vm, true);
    else if (phase === 'completed') void keepRedirect(vm);
    else if (phase === 'switching')
      vm.queue
        .run(() => settleSwitch(vm))
        .catch((error: unknown) =>
          vm.context.log.error(
            { err: error, instanceId: vm.record.instanceId },
            'a switch that a former agent began was not settled',
          ),
        );
  }
};

const settleSwitch = async (vm: Vm): Promise<void> => {
  const source = sourceOf(vm);
  if (source?.phase !== 'switching') return;
  if (await hasHandedOver(vm)) await settleHandedOver(vm, source);
  else await giveUpSwitch(vm);
};

export const migrationProgress = async (vm: Vm): Promise<Progress> => {
  const source = sourceOf(vm);
  const none = { remainingBytes: 0, totalBytes: 0, expectedDowntimeMs: 0 };
  if (source === undefined) return { phase: 'none', ...none };
  if (source.phase === 'failed') return { phase: 'failed', ...none, reason: source.reason };
  if (source.phase === 'completed') return { phase: 'completed', ...none };
  if (await hasHandedOver(vm)) return { phase: 'completed', ...none };
  const job = await mirrorOf(vm);
  const info = await vm.monitor.query(migrateInfo, 'query-migrate');
  const disk = { total: job?.['total-progress'] ?? 0, done: job?.['current-progress'] ?? 0 };
  const ram = { total: info.ram?.total ?? 0, remaining: info.ram?.remaining ?? 0 };
  const copying = info.status === 'active' || info.status === 'pre-switchover';
  const converged = copying && watches.get(vm)?.converged === true;
  return {
    phase: converged ? 'converged' : copying ? 'memory' : 'disk',
    remainingBytes: Math.max(0, disk.total - disk.done) + ram.remaining,
    totalBytes: disk.total + ram.total,
    expectedDowntimeMs: info['expected-downtime'] ?? 0,
  };
};

/** Gives up and runs on. Nothing under way: nothing to do. */
export const cancelMigration = async (vm: Vm): Promise<{ state: VmState }> => {
  const { record } = vm;
  if (record.migration?.role === 'target')
    throw new PandoError(
      'IncorrectInstanceState',
      `${record.instanceId} is the target here: destroy it instead.`,
    );
  const source = sourceOf(vm);
  if (source === undefined) return { state: record.state };
  if (source.phase === 'completed' || (await hasHandedOver(vm))) throw onlyForward(vm);
  // Whoever follows the copy lets go of it first.
  record.migration = undefined;
  try {
    if ((await vm.alive()) && !(await abandon(vm, source))) throw onlyForward(vm);
  } catch (error) {
    // Not given up: the next try must not find nothing to do, while the guest may still stand.
    record.migration = source;
    if (await hasHandedOver(vm)) await settleHandedOver(vm, source);
    throw error;
  }
  await vm.save();
  await vm.adjustCpuQuota();
  return { state: record.state };
};

/** Cuts the connections to the target, whatever waits on them: also a VMM that does nothing else meanwhile. */
export const cutOff = async ({ monitor }: Vm): Promise<void> => {
  const instances = [{ type: 'block-node', 'node-name': remoteNode }, { type: 'migration' }];
  for (const instance of instances)
    await monitor.executeOutOfBand('yank', { instances: [instance] }).catch(ignoreRefusal);
};

const onlyForward = ({ record }: Vm): PandoError =>
  new PandoError('IncorrectState', `${record.instanceId} was handed over: there is only forward (S7.4).`);

/**
 * Ends both copies and makes sure that the guest runs here. False, and nothing is resumed: the cancellation came too late, in the
 * last moments of the handover (S6.5).
 */
const abandon = async (vm: Vm, source: Source): Promise<boolean> => {
  const { monitor } = vm;
  await monitor.execute('migrate_cancel');
  const until = monotonicMs() + cancelTimeoutMs;
  for (;;) {
    const { status = 'none' } = await monitor.query(migrateInfo, 'query-migrate');
    // Before anything was sent, what it says is of an earlier migration.
    if (status === 'completed' && source.sending === true) return false;
    if (isEnded({ status })) break;
    if (monotonicMs() >= until)
      throw new PandoError('DeadlineExceeded', `The migration does not end: ${status}.`);
    await sleep(watchEveryMs);
  }
  await dropMirror(vm);
  await unsecure(vm);
  if (!(await monitor.query(runInfo, 'query-status')).running) await monitor.execute('cont');
  vm.setState('running');
  return true;
};

/** Removes the mirror and its remote node, whatever state they are in. */
export const dropMirror = async (vm: Vm): Promise<void> => {
  const { monitor } = vm;
  const until = monotonicMs() + cancelTimeoutMs;
  for (let asked = false; ; await sleep(watchEveryMs)) {
    const job = await mirrorOf(vm);
    if (job === undefined) break;
    if (job.status === 'concluded') await monitor.execute('job-dismiss', { id: mirrorJob });
    else if (!asked) await monitor.execute('block-job-cancel', { device: mirrorJob, force: true });
    asked = true;
    if (monotonicMs() >= until) throw new PandoError('DeadlineExceeded', "The disk's copy does not end.");
  }
  await monitor.execute('blockdev-del', { 'node-name': remoteNode }).catch(ignoreRefusal); // There may be no such node.
};

const ignoreRefusal = (error: unknown): void => {
  if (!(error instanceof QmpError)) throw error;
};
