/**
 * A target commissions its guest without its cell (S7.4). It may do so only when the source can never run the guest again (I1).
 *
 * What decides is the state of the source's VMM, and it alone:
 *
 *   1. QEMU's source says `completed` only after the target has acknowledged on the return path that it has loaded everything. The
 *      target's own `completed` comes before that, so it proves that all has arrived, not that the source has let go: a source may
 *      still be cancelled between the two.
 *   2. `completed` is the VMM's last word on a migration. A cancellation that comes after it changes nothing, one that comes before
 *      it ends in `cancelled` or `failed`: never both.
 *   3. No agent of the source resumes a VMM that says `completed` (`abandon` and `cancelMigration` in source.ts), however often it is
 *      restarted, since it asks the VMM and not its own memory.
 *
 * So the target's agent asks the source's agent, over mutual TLS, and the source's agent answers "handed over" only from its VMM's
 * `completed`, for the migration to this very target (by the address of its listener, which no other migration has). An answer that
 * does not come is no answer: the guest stays where it is until the cell, or a later question, decides. A source that gives up does so
 * before `completed`, and answers no for ever.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseIdentity, type TlsMaterial } from '#base/identity.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import { writeAtomically } from '#base/writeAtomically.ts';
import { handoverAccess } from '#contracts/access.ts';
import { handoverContract } from '#contracts/handover.ts';
import type { AgentConfig } from '../config.ts';
import { handoverAskEveryMs, handoverWaitMs } from '../limits.ts';
import type { Vm } from '../vm.ts';
import type { MigrationRecord } from '../vm-record.ts';
import { hasHandedOver, sourceOf } from './source.ts';
import { commission, hasArrived, keepBuffering } from './target.ts';
import { waitForEvent } from './waitForEvent.ts';

const answerMarginMs = 2_000;
const lookEveryMs = 500;

/** Answers the agents of targets. On the port that it had before, if it can: a target may have been told of that one. */
export const serveHandover = async (
  config: Pick<AgentConfig, 'migrationAddress' | 'stateDir'>,
  tls: TlsMaterial,
  find: (instanceId: string) => Vm | undefined,
): Promise<RpcServer> => {
  const path = join(config.stateDir, 'handover-port');
  await mkdir(config.stateDir, { recursive: true });
  const before = Number(await readFile(path, 'utf8').catch(() => '0'));
  const serve = (port: number): Promise<RpcServer> =>
    serveRpc({
      ...{
        tls,
        host: config.migrationAddress,
        port,
        contract: handoverContract,
        access: handoverAccess,
        remote: {},
      },
      authorize: (identity) => parseIdentity(identity)?.role === 'agent',
      handlers: () => ({
        'handover.ask': async ({ instanceId, memoryUri, waitMs }) => ({
          handedOver: await waitHandedOver(find(instanceId), memoryUri, waitMs),
        }),
      }),
    });
  const server = await serve(before).catch(() => serve(0));
  if (server.port !== before) await writeAtomically(path, String(server.port));
  return server;
};

/** Whether the guest was handed over to the target at `memoryUri`, waited for while it may still be. */
const waitHandedOver = async (vm: Vm | undefined, memoryUri: string, waitMs: number): Promise<boolean> => {
  const look = async (): Promise<boolean | undefined> => {
    const source = vm === undefined || vm.removed ? undefined : sourceOf(vm);
    if (vm === undefined || source?.memoryUri !== memoryUri || source.phase === 'failed') return false;
    if (source.phase === 'completed' || (await hasHandedOver(vm))) return true;
    return undefined;
  };
  const now = await look();
  if (now !== undefined || vm === undefined) return now ?? false;
  const patience = { until: monotonicMs() + waitMs, complaint: 'not yet', lookEveryMs };
  return waitForEvent(vm.monitor, ['MIGRATION'], patience, look).catch(() => false);
};

type Target = Extract<MigrationRecord, { role: 'target' }>;
type Source = RpcClient<Record<never, never>, typeof handoverContract>;

const targetOf = ({ record, removed, context }: Vm): Target | undefined =>
  removed || context.closed || record.process === undefined || record.migration?.role !== 'target'
    ? undefined
    : record.migration;

const followed = new WeakSet<Vm>();

/** Asks the source's agent until the guest was handed over, then commissions it; at most one such for a VM. */
export const commissionWhenHandedOver = (vm: Vm): void => {
  const handover = targetOf(vm)?.handover;
  if (handover === undefined || followed.has(vm)) return;
  followed.add(vm);
  const { context, record } = vm;
  const { host, port, identity } = handover;
  const source = new RpcClient({
    ...{ tls: context.tls, host, port, expect: identity },
    ...{ remote: handoverContract, contract: {}, handlers: {} },
  });
  void askOn(vm, source)
    .catch((error: unknown) =>
      context.log.error({ err: error, instanceId: record.instanceId }, 'not commissioned by itself'),
    )
    .finally(() => {
      source.close();
      followed.delete(vm);
    });
};

const askOn = async (vm: Vm, source: Source): Promise<void> => {
  for (let target = targetOf(vm); target !== undefined; target = targetOf(vm)) {
    const answer = await mayRun(vm, target, source);
    if (answer === true && (await inTurn(vm, commissionHere))) return;
    if (answer === undefined) await inTurn(vm, bufferOn);
    await sleep(handoverAskEveryMs);
  }
};

/** Undefined: who knows does not answer. A guest that runs here was let run by a former agent, or by a try that failed after that. */
const mayRun = async (vm: Vm, { memoryUri }: Target, source: Source): Promise<boolean | undefined> => {
  if (vm.record.state === 'running') return true;
  const question = { instanceId: vm.record.instanceId, memoryUri, waitMs: handoverWaitMs };
  const answer = await source
    .call('handover.ask', question, { timeoutMs: handoverWaitMs + answerMarginMs })
    .catch(() => undefined);
  return answer?.handedOver;
};

/** Behind the commands that came before. Whether it was done: what failed is tried again. */
const inTurn = async (vm: Vm, work: (vm: Vm) => Promise<void>): Promise<boolean> => {
  try {
    await vm.queue.run(() => work(vm));
    return true;
  } catch (error) {
    vm.context.log.warn(
      { err: error, instanceId: vm.record.instanceId },
      'a guest that arrives: tried again',
    );
    return false;
  }
};

/** The cell may have been faster. */
const commissionHere = async (vm: Vm): Promise<void> => {
  if (targetOf(vm) === undefined) return;
  const eniId = vm.record.network?.port.eniId;
  await commission(vm, eniId === undefined ? undefined : { eniId });
  await vm.save();
  vm.context.log.info({ instanceId: vm.record.instanceId }, 'commissioned: the source has handed over');
};

/** All is here, and whoever knows whether it may run does not answer: its packets wait for it, not for a deadline. */
const bufferOn = async (vm: Vm): Promise<void> => {
  // The cell may have let it run while the source was asked: then nobody would let its packets go again.
  if (targetOf(vm) === undefined || vm.record.state !== 'incoming') return;
  if (await hasArrived(vm)) await keepBuffering(vm);
};

/** After a restart of the agent: guests that were on their way here are waited for on. */
export const resumeTargets = (vms: readonly Vm[]): void => {
  for (const vm of vms) commissionWhenHandedOver(vm);
};
