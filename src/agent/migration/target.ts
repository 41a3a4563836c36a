/** The target's side of a migration: opens listeners for memory and disk; runs the guest when it is commissioned. */
import { X509Certificate } from 'node:crypto';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { identityIn } from '#base/identity.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { Stopwatch } from '#base/stopwatch.ts';
import { PandoError } from '#contracts/errors.ts';
import type { MigrationCredential, TimedParts } from '#contracts/host.ts';
import { rootNode } from '../qemu-command.ts';
import { QmpError, type QmpEvent } from '../qmp.ts';
import { processorNanoseconds } from '../run-state.ts';
import type { Vm } from '../vm.ts';
import type { MigrationRecord } from '../vm-record.ts';
import { makeCredential } from './credential.ts';
import { type Secured, secure, unsecure } from './secure.ts';
import { waitForEvent } from './waitForEvent.ts';

const portTriesMax = 8;
const exportId = 'incoming-root';
const progressTimeoutMs = 5_000;
const progressPollMs = 2;
/** A guest that has only just arrived has better things to do than to be asked. */
const aliveEveryMs = 20;
const incomingTimeoutMs = 10_000;

const capabilities = ['events', 'pause-before-switchover'].map((capability) => ({ capability, state: true }));

const migrateInfo = z.looseObject({
  status: z.string().optional(),
  'error-desc': z.string().optional(),
  'socket-address': z
    .array(z.looseObject({ host: z.string().optional(), port: z.string().optional() }))
    .optional(),
});
const runInfo = z.looseObject({ status: z.string(), running: z.boolean() });

type TargetRecord = Extract<MigrationRecord, { role: 'target' }>;

export interface IncomingListeners {
  readonly memoryUri: string;
  readonly diskUri: string;
  /** What our VMM proves itself with; undefined: the listeners are in the clear. */
  readonly peer?: MigrationCredential | undefined;
}

/**
 * Listens on this host's migration address for the VMM that `source` vouches for. Repeated: the same listeners. Errors: `AccessDenied`
 * when no agent of Pando's vouches for it.
 */
export const openIncoming = async (vm: Vm, source?: MigrationCredential): Promise<IncomingListeners> => {
  const { record, monitor, context } = vm;
  if (record.migration?.role === 'target') {
    const { memoryUri, diskUri, peer } = record.migration;
    return { memoryUri, diskUri, peer };
  }
  const host = context.config.migrationAddress;
  await monitor.execute('migrate-set-capabilities', { capabilities });
  const { peer, disk } = await proveAndExpect(vm, source);
  const diskPort = await openDiskListener(vm, host, disk);
  const memoryPort = await openMemoryListener(vm, host);
  const listeners = {
    memoryUri: `tcp:${host}:${memoryPort}`,
    diskUri: `nbd://${host}:${diskPort}/${rootNode}`,
    peer,
  };
  record.migration = { role: 'target', ...listeners, handover: handoverOf(source) };
  await vm.adjustCpuQuota();
  closeDiskListenerInTime(vm);
  return listeners;
};

/** Where and of whom it can be asked whether the guest was handed over; the credential has been checked. */
const handoverOf = (source: MigrationCredential | undefined): TargetRecord['handover'] => {
  if (source?.handover === undefined) return undefined;
  const identity = identityIn(new X509Certificate(source.agent).subjectAltName);
  return identity === undefined ? undefined : { ...source.handover, identity };
};

/** Once all has arrived nobody writes through the disk's listener any more: it is closed before the guest's peers wait for that too. */
const closeDiskListenerInTime = ({ monitor }: Vm): void => {
  const onEvent = ({ name, data }: QmpEvent): void => {
    if (name !== 'MIGRATION' || data.status !== 'completed') return;
    monitor.off('event', onEvent);
    monitor.execute('nbd-server-stop').catch(() => undefined); // Whoever commissions the guest shuts it if it is not.
  };
  monitor.on('event', onEvent);
};

const proveAndExpect = async (
  vm: Vm,
  source: MigrationCredential | undefined,
): Promise<Secured & { peer?: MigrationCredential }> => {
  const { context, record } = vm;
  if (context.config.migrationTls === 'off') return { disk: {} };
  if (source === undefined)
    throw new PandoError('AccessDenied', `Nobody vouches for the source of ${record.instanceId}.`);
  const own = await makeCredential(context.tls, record.instanceId, 'target');
  return { ...(await secure(vm, 'target', own, source)), peer: own.shown };
};

/** QEMU's NBD server does not tell a port that it chose itself, so a free one is found first; a race for it is tried again. */
const openDiskListener = async (vm: Vm, host: string, tls: Secured['disk']): Promise<number> => {
  for (let tries = 1; ; tries++) {
    const port = await freePort(host);
    try {
      await vm.monitor.execute('nbd-server-start', {
        addr: { type: 'inet', data: { host, port: String(port) } },
        'max-connections': 1,
        ...tls,
      });
      await vm.monitor.execute('block-export-add', {
        type: 'nbd',
        id: exportId,
        'node-name': rootNode,
        name: rootNode,
        writable: true,
      });
      return port;
    } catch (error) {
      if (!(error instanceof QmpError) || tries >= portTriesMax) throw error;
      await vm.monitor.execute('nbd-server-stop').catch(() => undefined);
    }
  }
};

const openMemoryListener = async (vm: Vm, host: string): Promise<string> => {
  await vm.monitor.execute('migrate-incoming', { uri: `tcp:${host}:0` });
  const until = monotonicMs() + incomingTimeoutMs;
  while (monotonicMs() < until) {
    const info = await vm.monitor.query(migrateInfo, 'query-migrate');
    const port = info['socket-address']?.[0]?.port;
    if (port !== undefined) return port;
    await sleep(progressPollMs);
  }
  throw new PandoError('DeadlineExceeded', 'The VMM did not open its port for a migration.');
};

const freePort = (host: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, host, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });

/**
 * Runs the guest here, once its memory has arrived whole (`IncorrectState` otherwise), then lets the packets go that were held for it.
 * Its peers wait: what is not needed for that is left to {@link confirm}. Repeated: nothing more.
 */
export const commission = async (
  vm: Vm,
  release: { readonly eniId: string } | undefined,
): Promise<{ parts: TimedParts }> => {
  const watch = new Stopwatch();
  await watch.time('resume', () => resume(vm));
  vm.watch.found();
  vm.watch.saw('running');
  vm.setState('running');
  if (release !== undefined) await watch.time('release', () => releaseQueue(vm, release.eniId));
  // Last: whoever finds it goes on here, so that no guest runs whose packets nobody lets go.
  vm.record.migration = undefined;
  return { parts: watch.parts };
};

const resume = async (vm: Vm): Promise<void> => {
  const { monitor } = vm;
  const arrived = incomingCompleted(vm);
  arrived.catch(() => undefined); // Looked at only where the guest does not run yet.
  const { running } = await monitor.query(runInfo, 'query-status');
  if (running) return;
  await arrived;
  await Promise.all([
    // The disk has one writer: the guest's own device can only have it when the listener is closed.
    monitor.execute('nbd-server-stop').catch(ignoreRefusal), // Stopped by an earlier try.
    monitor.execute('cont'),
  ]);
};

const releaseQueue = async ({ context: { card } }: Vm, eniId: string): Promise<void> => {
  try {
    await card.call('card.setQueue', { eniId, mode: 'pass', settled: true });
  } catch (error) {
    // A card that was started again has no queue any more, and nothing that could be let go.
    if (PandoError.from(error).code !== 'InvalidNetworkInterfaceID.NotFound') throw error;
  }
};

/** Whether the VMM has received everything. */
export const hasArrived = async (vm: Vm): Promise<boolean> => {
  try {
    return (await vm.monitor.query(migrateInfo, 'query-migrate')).status === 'completed';
  } catch {
    return false;
  }
};

/** The packets of a guest that is here and may not run yet wait on. */
export const keepBuffering = async ({ record: { network }, context: { card } }: Vm): Promise<void> => {
  if (network === undefined) return;
  const { eniId } = network.port;
  // No queue: nothing waits.
  await card.call('card.setQueue', { eniId, mode: 'hold' }).catch(() => undefined);
};

/** After the commissioning: sees that the guest makes progress ("completed" alone does not mean alive) and forgets the move's keys. */
export const confirm = async (vm: Vm): Promise<void> => {
  await makesProgress(vm);
  // Of an agent that died before it had written the commissioning down.
  if (vm.record.migration?.role === 'target') vm.record.migration = undefined;
  await unsecure(vm);
  await vm.adjustCpuQuota();
};

const incomingCompleted = (vm: Vm): Promise<true> =>
  waitForEvent(
    vm.monitor,
    ['MIGRATION'],
    { until: monotonicMs() + incomingTimeoutMs, complaint: 'The migration did not become complete here.' },
    async () => {
      const { status, 'error-desc': reason } = await vm.monitor.query(migrateInfo, 'query-migrate');
      if (status === 'failed')
        throw new PandoError('IncorrectState', `The migration failed here: ${reason ?? status}.`);
      return status === 'completed' ? true : undefined;
    },
  );

/** Progress is CPU time of the guest's processors: even an idle guest has timers that make it run. */
const makesProgress = async (vm: Vm): Promise<void> => {
  const first = await processorNanoseconds(vm);
  const until = monotonicMs() + progressTimeoutMs;
  while (monotonicMs() < until) {
    const { running, status } = await vm.monitor.query(runInfo, 'query-status');
    if (!running) throw new PandoError('IncorrectState', `The guest does not run: ${status}.`);
    if ((await processorNanoseconds(vm)) > first) return;
    await sleep(aliveEveryMs);
  }
  throw new PandoError('IncorrectState', 'The guest makes no progress.');
};

const ignoreRefusal = (error: unknown): void => {
  if (!(error instanceof QmpError)) throw error;
};
