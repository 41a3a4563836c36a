/**
 * The critical phase on the source (S6): the guest is paused, the disk's mirror is finished, the rest of memory goes
 * over. Before the handover is complete anything that goes wrong lets the guest run on here; after it, the guest
 * stays paused here for good, so that one copy runs at most (S6.5).
 *
 *   redirect → stop ─┬─ memory: pre-switchover ─┬─ hand over → completed
 *                    └─ disk: the mirror ends ──┘
 *
 * The peers of the guest wait meanwhile: commands go to the VMM in one go where none needs another's answer.
 */
import { constants } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import { monotonicMs } from '#base/monotonic.ts';
import { Stopwatch } from '#base/stopwatch.ts';
import { PandoError } from '#contracts/errors.ts';
import type { hostContract, TimedParts } from '#contracts/host.ts';
import { redirectLapseMarginMs } from '../limits.ts';
import { QmpError } from '../qmp.ts';
import { openRegular } from '../untrusted.ts';
import type { Vm } from '../vm.ts';
import { type Job, type MigrateInfo, migrateInfo, mirrorJob, remoteNode } from './facts.ts';
import { keepRedirect, redirectForNow } from './redirect.ts';
import {
  crawl,
  cutOff,
  giveUpSwitch,
  hasHandedOver,
  mirrorOf,
  sourceOf,
  unlimitedBytesPerS,
} from './source.ts';
import { waitForEvent } from './waitForEvent.ts';

const pollMs = 2;
/** From a flush until the copy crawls again when no switch has begun. */
const flushLapseMs = 2_000;
/** QEMU takes up a new bandwidth within its 100 ms window, then one pass after another takes a few; the guest runs on. */
const flushMsMax = 300;
/** Passes that must have begun since: the first may still have been sent at a crawl. */
const flushPasses = 2;
/** What may be left when the guest is paused. */
const flushedBytes = 1024 * 1024;
/** Never a limit here: the guest has been stopped. */
const downtimeLimitMs = 10_000;

type SwitchParams = Pick<
  z.output<(typeof hostContract)['migrate.switch']['params']>,
  'budgetMs' | 'redirect'
>;

export const switchOver = async (
  vm: Vm,
  { budgetMs, redirect }: SwitchParams,
): Promise<{ downtimeMs: number; parts: TimedParts }> => {
  const source = sourceOf(vm);
  if (source === undefined || source.phase === 'failed')
    throw new PandoError(
      'IncorrectState',
      `${vm.record.instanceId}: no migration is under way. ${source?.reason ?? ''}`.trim(),
    );
  if (source.phase === 'completed') return { downtimeMs: source.downtimeMs ?? 0, parts: [] };
  if (!source.sending)
    throw new PandoError('IncorrectState', `${vm.record.instanceId}: no memory has been sent yet.`);
  const watch = new Stopwatch();
  const until = monotonicMs() + budgetMs;
  let stoppedAt = monotonicMs();
  endFlush(vm);
  try {
    if (!(await hasHandedOver(vm))) {
      source.phase = 'switching';
      source.redirect = redirect;
      // Before the first packet is sent away: an agent that comes after a crash knows what to take back.
      await vm.save();
      if (redirect !== undefined)
        await watch.time('redirect', () => redirectForNow(vm, redirect, budgetMs + redirectLapseMarginMs));
      stoppedAt = monotonicMs();
      const stopped = await watch.time('stop', () => inTime(stopAll(vm, until), until));
      await watch.time('hand over', () => inTime(handOver(vm, stopped, until), until));
    }
  } catch (error) {
    // A target that says nothing holds up every request to the VMM, that one about the handover too.
    await cutOff(vm).catch(() => undefined);
    if (await hasHandedOver(vm)) throw error;
    await giveUpSwitch(vm);
    throw error;
  }
  void keepRedirect(vm);
  // Written down after the answer: the VMM itself says that it has handed over, to whichever agent asks it.
  source.downtimeMs = Math.round(monotonicMs() - stoppedAt);
  source.phase = 'completed';
  vm.setState('paused', 'migrated away');
  return { downtimeMs: source.downtimeMs, parts: watch.parts };
};

const statusOf = (vm: Vm): Promise<MigrateInfo> => vm.monitor.query(migrateInfo, 'query-migrate');

/** Throws when the migration has ended before its time. */
const mustGoOn = ({ status = 'none', 'error-desc': reason }: MigrateInfo): void => {
  if (['failed', 'cancelled', 'none'].includes(status))
    throw new PandoError('IncorrectState', `The migration ended before the switch: ${reason ?? status}.`);
};

const late = (until: number) => ({ until, complaint: 'The switch took longer than its budget.' });

/** What the VMM is asked may not be answered at all, while it waits for the target's. */
const inTime = async <T>(work: Promise<T>, until: number): Promise<T> => {
  const timer = new AbortController();
  const tooLate = sleep(until - monotonicMs(), undefined, { signal: timer.signal }).then(
    () => Promise.reject(new PandoError('DeadlineExceeded', late(until).complaint)),
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    timer.abort();
    work.catch(() => undefined); // Nobody waits for it any more.
  }
};

interface Stopped {
  /** The ended mirror; undefined: an earlier try has put it away. */
  readonly mirror: Job | undefined;
  readonly status: string | undefined;
}

/**
 * Stops the guest, the flow of its memory but for the last of it, and the disk's mirror: what the guest wrote is on the target
 * already (write-blocking), so that ending a mirror that is ready leaves the target's disk exact.
 */
const stopAll = async (vm: Vm, until: number): Promise<Stopped> => {
  const { monitor } = vm;
  await vm.context.cgroups.setLowCpuShares(vm.record.instanceId, false);
  // Given up meanwhile: the guest runs on, and nobody would let a late stop pass.
  if (monotonicMs() >= until) throw new PandoError('DeadlineExceeded', late(until).complaint);
  await Promise.all([
    openWide(vm),
    monitor.execute('stop'),
    monitor.execute('block-job-cancel', { device: mirrorJob }).catch(ignoreRefusal), // Ended by an earlier try.
  ]);
  const stopped = await waitForEvent(monitor, ['MIGRATION', 'JOB_STATUS_CHANGE'], late(until), async () => {
    const [info, mirror] = await Promise.all([statusOf(vm), mirrorOf(vm)]);
    mustGoOn(info);
    const mirrorEnded = mirror === undefined || mirror.status === 'concluded';
    const memoryStands = ['pre-switchover', 'device', 'completed'].includes(info.status ?? '');
    return mirrorEnded && memoryStands ? { mirror, status: info.status } : undefined;
  });
  if (stopped.mirror?.error !== undefined)
    throw new PandoError('IncorrectState', `The disk's copy failed: ${stopped.mirror.error}.`);
  return stopped;
};

/** Lets the rest of memory go. The disk's connection goes first, so that nothing of ours can write there later. */
const handOver = async (vm: Vm, { mirror, status }: Stopped, until: number): Promise<void> => {
  const { monitor } = vm;
  await Promise.all([
    mirror === undefined ? undefined : monitor.execute('job-dismiss', { id: mirrorJob }),
    monitor.execute('blockdev-del', { 'node-name': remoteNode }).catch(ignoreRefusal), // Removed by an earlier try.
    status === 'pre-switchover'
      ? monitor.execute('migrate-continue', { state: 'pre-switchover' })
      : undefined,
  ]);
  await waitForEvent(monitor, ['MIGRATION'], late(until), async () => {
    const info = await statusOf(vm);
    mustGoOn(info);
    return info.status === 'completed' ? true : undefined;
  });
};

const openWide = (vm: Vm): Promise<unknown> =>
  vm.monitor.execute('migrate-set-parameters', {
    'max-bandwidth': unlimitedBytesPerS,
    'downtime-limit': downtimeLimitMs,
  });

/**
 * Before the guest's packets are held, as they would wait for it too. Both sides: what the disk's file holds back is written, since the
 * stop of the guest waits for that on both. Source: lets memory flow freely and waits, for a bounded time, until little is left: a guest
 * that writes a lot always has more. Nothing under way: nothing to do.
 */
export const flush = async (vm: Vm): Promise<void> => {
  if (vm.record.migration === undefined) return;
  await flushDisk(vm);
  if (sourceOf(vm)?.phase !== 'copying') return;
  endFlush(vm);
  await openWide(vm);
  const until = monotonicMs() + flushMsMax;
  const passes = async (): Promise<number> => (await statusOf(vm)).ram?.['dirty-sync-count'] ?? 0;
  const enough = (await passes()) + flushPasses;
  while (monotonicMs() < until) {
    const { ram } = await statusOf(vm);
    if (ram !== undefined && ram.remaining <= flushedBytes && ram['dirty-sync-count'] >= enough) break;
    await sleep(pollMs);
  }
  // With little left QEMU looks for more without a pause: it must not keep others from redirecting the guest's packets.
  await vm.context.cgroups.setLowCpuShares(vm.record.instanceId, true);
  flushes.set(vm, setTimeout(() => void lapseFlush(vm), flushLapseMs).unref());
};

/** What a flush has set stays for the switch that follows it. When none follows, the guest gets its share of the CPU again. */
const flushes = new WeakMap<Vm, NodeJS.Timeout>();

const endFlush = (vm: Vm): void => {
  clearTimeout(flushes.get(vm));
  flushes.delete(vm);
};

const lapseFlush = async (vm: Vm): Promise<void> => {
  if (sourceOf(vm)?.phase !== 'copying' || vm.removed || vm.context.closed) return;
  const { instanceId } = vm.record;
  vm.context.log.warn({ instanceId }, 'no switch has followed the flush: the copy crawls again');
  try {
    await vm.context.cgroups.setLowCpuShares(instanceId, false);
    await crawl(vm);
  } catch (error) {
    vm.context.log.warn({ err: error, instanceId }, 'after a flush without a switch');
  }
};

const flushDisk = async ({ paths }: Vm): Promise<void> => {
  const disk = await openRegular(paths.disk, constants.O_RDONLY);
  if (disk === undefined)
    throw new PandoError('IncorrectState', 'What lies in the place of the disk is not a file.');
  try {
    await disk.datasync();
  } finally {
    await disk.close();
  }
};

const ignoreRefusal = (error: unknown): void => {
  if (!(error instanceof QmpError)) throw error;
};
