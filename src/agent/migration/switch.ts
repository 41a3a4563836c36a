/**
 * The critical phase on the source (S6): the guest is paused, the disk's mirror is finished, the rest of memory goes
 * over. Before the handover is complete anything that goes wrong lets the guest run on here; after it, the guest
 * stays paused here for good, so that one copy runs at most (S6.5).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PandoError } from '#contracts/errors.ts';
import { QmpError } from '../qmp.ts';
import type { Vm } from '../vm.ts';
import { isOver, type MigrateInfo, migrateInfo, mirrorJob, remoteNode } from './facts.ts';
import { cancelMigration, mirrorOf, sourceOf, unlimitedBytesPerS } from './source.ts';

const pollMs = 2;
/** QEMU takes up a new bandwidth within its 100 ms window, then one pass after another takes a few; the guest runs on. */
const flushMsMax = 300;
/** Passes that must have begun since: the first may still have been sent at a crawl. */
const flushPasses = 2;
/** What may be left when the guest is paused. */
const flushedBytes = 1024 * 1024;
/** Never a limit here: the guest has been stopped. */
const downtimeLimitMs = 10_000;

export const switchOver = async (vm: Vm, budgetMs: number): Promise<{ downtimeMs: number }> => {
  const source = sourceOf(vm);
  if (source === undefined || source.phase === 'failed')
    throw new PandoError(
      'IncorrectState',
      `${vm.record.instanceId}: no migration is under way. ${source?.reason ?? ''}`.trim(),
    );
  if (source.phase === 'completed') return { downtimeMs: source.downtimeMs ?? 0 };
  if (!source.sending)
    throw new PandoError('IncorrectState', `${vm.record.instanceId}: no memory has been sent yet.`);
  source.phase = 'switching';
  const saved = vm.save();
  // Awaited before the handover: up to there a new agent would let the guest run on whatever the record says.
  saved.catch(() => undefined);
  const until = Date.now() + budgetMs;
  try {
    const stoppedAt = await pause(vm, until);
    await finishMirror(vm, until);
    await saved;
    await handOver(vm, until);
    source.downtimeMs = Math.round(performance.now() - stoppedAt);
  } catch (error) {
    if (await isCompleted(vm)) throw error;
    await cancelMigration(vm);
    throw error;
  }
  source.phase = 'completed';
  vm.setState('paused', 'migrated away');
  await vm.save();
  return { downtimeMs: source.downtimeMs };
};

const statusOf = (vm: Vm): Promise<MigrateInfo> => vm.monitor.query(migrateInfo, 'query-migrate');

const isCompleted = async (vm: Vm): Promise<boolean> => {
  try {
    return (await statusOf(vm)).status === 'completed';
  } catch {
    return false; // No VMM any more: nothing can run here.
  }
};

/** Waits for a status; `StateError` when the migration fails, `DeadlineExceeded` when the budget is spent. */
const awaitStatus = async (vm: Vm, wanted: readonly string[], until: number): Promise<string> => {
  for (;;) {
    const { status = 'none', 'error-desc': reason } = await statusOf(vm);
    if (wanted.includes(status)) return status;
    if (['failed', 'cancelled', 'none'].includes(status))
      throw new PandoError('IncorrectState', `The migration ended before the switch: ${reason ?? status}.`);
    if (Date.now() >= until)
      throw new PandoError('DeadlineExceeded', 'The switch took longer than its budget.');
    await sleep(pollMs);
  }
};

/** Stops the guest and lets what is left of memory flow; resolves with the instant of the stop. */
const pause = async (vm: Vm, until: number): Promise<number> => {
  const { monitor } = vm;
  if (['completed', 'pre-switchover'].includes((await statusOf(vm)).status ?? '')) return performance.now();
  await openWide(vm);
  const stoppedAt = performance.now();
  await monitor.execute('stop');
  await awaitStatus(vm, ['pre-switchover', 'completed'], until);
  return stoppedAt;
};

const openWide = (vm: Vm): Promise<unknown> =>
  vm.monitor.execute('migrate-set-parameters', {
    'max-bandwidth': unlimitedBytesPerS,
    'downtime-limit': downtimeLimitMs,
  });

/**
 * Lets memory flow freely and waits, for a bounded time, until little is left: a guest that writes a lot always has more. To be
 * called before the guest's packets are held, as they would wait for it too. Nothing under way: nothing to do.
 */
export const flush = async (vm: Vm): Promise<void> => {
  if (sourceOf(vm)?.phase !== 'copying') return;
  await openWide(vm);
  const until = Date.now() + flushMsMax;
  const passes = async (): Promise<number> => (await statusOf(vm)).ram?.['dirty-sync-count'] ?? 0;
  const enough = (await passes()) + flushPasses;
  while (Date.now() < until) {
    const { ram } = await statusOf(vm);
    if (ram !== undefined && ram.remaining <= flushedBytes && ram['dirty-sync-count'] >= enough) return;
    await sleep(pollMs);
  }
};

/**
 * The guest stands still and everything it wrote is on the target already (write-blocking): ending a mirror that is
 * ready leaves the target's disk exact. The connection goes too, so that nothing of ours can write there later.
 */
const finishMirror = async (vm: Vm, until: number): Promise<void> => {
  const { monitor } = vm;
  for (let asked = false; ; await sleep(pollMs)) {
    const job = await mirrorOf(vm);
    if (job === undefined) break;
    if (isOver(job)) {
      if (job.error !== undefined)
        throw new PandoError('IncorrectState', `The disk's copy failed: ${job.error}.`);
      if (job.status === 'concluded') await monitor.execute('job-dismiss', { id: mirrorJob });
    } else if (!asked) {
      await monitor.execute('block-job-cancel', { device: mirrorJob });
      asked = true;
    }
    if (Date.now() >= until)
      throw new PandoError('DeadlineExceeded', "The disk's copy was not finished in time.");
  }
  try {
    await monitor.execute('blockdev-del', { 'node-name': remoteNode });
  } catch (error) {
    if (!(error instanceof QmpError)) throw error; // Removed by an earlier try.
  }
};

const handOver = async (vm: Vm, until: number): Promise<void> => {
  if ((await statusOf(vm)).status === 'pre-switchover')
    await vm.monitor.execute('migrate-continue', { state: 'pre-switchover' });
  await awaitStatus(vm, ['completed'], until);
};
