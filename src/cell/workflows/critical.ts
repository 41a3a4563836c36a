/**
 * The critical phase of a migration (S7.1): short, coordinated in memory, every part of it idempotent, so that a survivor of a crash
 * simply carries it out again. The source's agent decides which way is left: before it has handed the guest over, back; after, forward.
 *
 * queue → prepare, flows → flush → flows → switch ─┬─ failed: resume the source, give it the queue
 *                                                  └─ done: commission → confirm → plug → empty → direct
 *
 * Peers wait during `switch` and `commission`: agents and cards do there what must be done, in as few steps as can be.
 * switch: redirect → stop → hand over   commission: resume → release
 * plug: kernels keep new packets while the queue empties, so that none on the direct way overtakes one in it (S7.2).
 *
 * The phase does not need this processor. Between `queue` and the end of `switch` a source that is left alone takes its own redirection
 * back (its agent, else a timer of its card); what the queue buffers goes to the source when nobody has said anything about it for
 * `queueLapseMs`. After `switch` the target commissions itself (src/agent/migration/handover.ts). A processor that comes later finds
 * either, and goes on from there.
 */
import { metrics } from '#base/metrics.ts';
import { Stopwatch } from '#base/stopwatch.ts';
import { PandoError } from '#contracts/errors.ts';
import type { CardCallOptions } from '../hosts/sessions.ts';
import { switchBudgetMs } from '../limits.ts';
import type { CellServices } from '../services.ts';
import { TakenBack } from '../workflow/attempt.ts';
import type { StepContext } from '../workflow/definition.ts';
import { FlowCopy } from './flows.ts';
import type { PlaceInput } from './steps/inputs.ts';

export interface MigrateInput extends PlaceInput {
  readonly sourceHostId: string;
  readonly sourceVtep: string;
}

export interface CriticalResult {
  /** Milliseconds that the guest itself was paused, by the VMM's own clock. */
  readonly downtimeMs: number;
  readonly totalMs: number;
  readonly parts: readonly { readonly part: string; readonly ms: number }[];
  readonly packets: { readonly held: number; readonly forwarded: number; readonly dropped: number };
}

type Context<R> = StepContext<MigrateInput, R, CellServices>;

const vxlanPort = 4789;
const queueIdleMs = 50;
/** Silence at the queue after which nothing is on its way to it from the plugged source. */
const pluggedIdleMs = 5;
/** A guest that has only just arrived answers those who wait first: changing the way takes processors from it, and delays packets. */
const guestSettlesMs = 250;
/** Longer than a switch within its budget, so that only packets that nobody cares for any more are given back. */
const queueLapseMs = 2_000;
const cardCallTimeoutMs = 2_000;
const askAgainMs = 50;
const askAgainMsMax = 1_000;

/** A card is told who commands, as its host is. */
const cardCall = <R>({ command, subject }: Context<R>): CardCallOptions => ({
  timeoutMs: cardCallTimeoutMs,
  command,
  instanceId: subject,
});

const tellGap = (downtimeMs: number, packets: CriticalResult['packets']): void => {
  metrics.migrationDowntime.observe(downtimeMs / 1000);
  for (const fate of ['held', 'forwarded', 'dropped'] as const)
    metrics.migrationPackets.inc({ fate }, packets[fate]);
};

/** Runs the phase. Rejects only when the source runs again and has its packets. */
export const runCritical = async <R>(context: Context<R>, eniId: string): Promise<CriticalResult> => {
  const { services, signal } = context;
  const watch = new Stopwatch(() => services.clock.monotonicMs());
  const began = services.clock.monotonicMs();
  let downtimeMs = 0;
  try {
    // A former processor may have got so far: then the queue must not buffer again before a guest that runs.
    if (!(await isHandedOver(context))) downtimeMs = await switchOver(context, eniId, watch);
  } catch (error) {
    if (signal.aborted) throw error;
    if (!(await handedOver(context))) {
      await restore(context, eniId);
      // The abort is decided: the same switch is not tried again, whatever kind of error it was.
      throw new TakenBack(`The switch failed and was taken back: ${PandoError.from(error).message}`);
    }
    downtimeMs = services.clock.monotonicMs() - began;
  }
  const packets = await finish(context, eniId, watch);
  tellGap(downtimeMs, packets);
  return { downtimeMs, totalMs: services.clock.monotonicMs() - began, parts: watch.parts, packets };
};

const switchOver = async <R>(context: Context<R>, eniId: string, watch: Stopwatch): Promise<number> => {
  const { services, input, command, subject } = context;
  const { hosts, faults } = services;
  const own = { ip: input.vtep, port: vxlanPort };
  const lapse = { ms: queueLapseMs, passTo: { ip: input.sourceVtep, port: vxlanPort } };
  const copyFlows = flowsOf(context, eniId);
  const queue = await watch.time('queue', () =>
    hosts.card(
      input.hostId,
      'card.openQueue',
      { eniId, mode: 'hold', passTo: own, lapse },
      cardCall(context),
    ),
  );
  await faults.hit('migrate.critical.queue.after');
  await watch.time('prepare', () =>
    Promise.all([
      hosts.card(input.sourceHostId, 'card.prepareRedirect', { eniId, to: queue }, cardCall(context)),
      copyFlows().catch(() => undefined),
    ]),
  );
  // A guest that writes a lot has more to send after the stop: longer, but no reason to give up.
  await watch.time('flush', () =>
    Promise.all(
      [input.hostId, input.sourceHostId].map((host) =>
        hosts.call(host, 'migrate.flush', { command, instanceId: subject }).catch(() => undefined),
      ),
    ),
  );
  await faults.hit('migrate.critical.flush.after');
  // Those that were opened since: now, as the cards have better things to do once peers wait. Without them the guest still runs:
  // connections of strict groups may have to begin anew.
  await watch.time('flows', () => copyFlows().catch(() => undefined));
  const { downtimeMs, parts } = await watch.time('switch', () =>
    hosts.call(
      input.sourceHostId,
      'migrate.switch',
      {
        command: { ...command, step: 'critical.switch' },
        instanceId: subject,
        budgetMs: switchBudgetMs,
        redirect: { eniId, to: queue },
      },
      { timeoutMs: 2 * switchBudgetMs },
    ),
  );
  watch.add(parts);
  await faults.hit('migrate.critical.switch.after');
  return downtimeMs;
};

/** What copies the flows of the port that are not copied yet. */
const flowsOf = <R>(context: Context<R>, eniId: string): (() => Promise<void>) => {
  const { services, input } = context;
  const flows = new FlowCopy();
  const way = { from: input.sourceHostId, to: input.hostId, eniId };
  return () => flows.copy(services.hosts, way, cardCall(context));
};

/** What the source says now; one that does not answer has not said so. */
const isHandedOver = <R>({ services, input, subject }: Context<R>): Promise<boolean> =>
  services.hosts.call(input.sourceHostId, 'migrate.progress', { instanceId: subject }).then(
    ({ phase }) => phase === 'completed',
    () => false,
  );

/** Whether the source has handed the guest over; asked until the source, or a target that already runs it, answers. */
const handedOver = async <R>(context: Context<R>): Promise<boolean> => {
  const { services, input, subject, signal, command } = context;
  const { hosts, clock } = services;
  for (let pauseMs = askAgainMs; ; pauseMs = Math.min(pauseMs * 2, askAgainMsMax)) {
    try {
      const { phase } = await hosts.call(input.sourceHostId, 'migrate.progress', {
        command,
        instanceId: subject,
      });
      return phase === 'completed';
    } catch (error) {
      // A newer owner commands there: this one has nothing to decide any more.
      if (signal.aborted || PandoError.from(error).code === 'StaleEpoch') throw error;
    }
    const target = await hosts
      .call(input.hostId, 'vm.describe', { instanceId: subject })
      .catch(() => undefined);
    if (target?.state === 'running') return true;
    if (signal.aborted) throw new PandoError('Cancelled', 'The processor stops.');
    await clock.sleep(pauseMs, signal);
  }
};

/** The source runs on, then its packets come to it again, held ones included. */
const restore = async <R>(context: Context<R>, eniId: string): Promise<void> => {
  const { services, input, command, subject } = context;
  const { hosts } = services;
  const source = { ip: input.sourceVtep, port: vxlanPort };
  await insist(context, () =>
    hosts.call(input.sourceHostId, 'migrate.cancel', {
      command: { ...command, step: 'critical.cancel' },
      instanceId: subject,
    }),
  );
  // The tap first: released packets go through the source's card, which must not send them back to the queue.
  await insist(context, () =>
    hosts.card(input.sourceHostId, 'card.redirectPort', { eniId }, cardCall(context)),
  );
  // A target that is gone has no queue to release.
  await hosts
    .card(input.hostId, 'card.setQueue', { eniId, mode: 'pass', passTo: source }, cardCall(context))
    .then(() =>
      hosts.card(input.hostId, 'card.closeQueue', { eniId, idleMs: queueIdleMs }, cardCall(context)),
    )
    .catch(() => undefined);
};

/** Only forward: the guest and its packets first; when it is alive, the direct way. */
const finish = async <R>(
  context: Context<R>,
  eniId: string,
  watch: Stopwatch,
): Promise<CriticalResult['packets']> => {
  const { services, input, command, subject } = context;
  const { hosts, faults } = services;
  const order = (step: string) => ({
    command: { ...command, step: `critical.${step}` },
    instanceId: subject,
  });
  const { parts } = await watch.time('commission', () =>
    insist(context, () =>
      hosts.call(input.hostId, 'migrate.commission', { ...order('commission'), release: { eniId } }),
    ),
  );
  watch.add(parts);
  await faults.hit('migrate.critical.commission.after');
  // "completed" does not mean alive: the source is not cleared before the guest makes progress.
  await watch.time('confirm', () =>
    insist(context, () => hosts.call(input.hostId, 'migrate.confirm', order('confirm'))),
  );
  await faults.hit('migrate.critical.confirm.after');
  await watch.time('settle', () => services.clock.sleep(guestSettlesMs, context.signal));
  return switchToDirectPath(context, eniId, watch);
};

const noCounters = { held: 0, heldBytes: 0, forwarded: 0, dropped: 0 };

/**
 * From the way through the queue to the direct one, in order (S7.2): new packets are kept until the queue is empty, by the source
 * those that it sends on for all others, by the target those of its own VMs.
 */
const switchToDirectPath = async <R>(
  context: Context<R>,
  eniId: string,
  watch: Stopwatch,
): Promise<CriticalResult['packets']> => {
  const { services, input } = context;
  const { hosts, faults } = services;
  const { hostId: target, sourceHostId: source } = input;
  const to = { ip: input.vtep, port: vxlanPort };
  // The target first: what its VMs have sent by way of the source must not be kept there behind what they send directly.
  await watch.time('plug', async () => {
    // A source that died with the switch forwards nothing: other cards learn the new place from the region.
    for (const host of [target, source])
      await hosts.card(host, 'card.plugPort', { eniId }, cardCall(context)).catch(() => undefined);
  });
  const counters = await watch.time('empty', () =>
    hosts
      .card(target, 'card.setQueue', { eniId, mode: 'pass', idleMs: pluggedIdleMs }, cardCall(context))
      .catch(() => noCounters),
  );
  await watch.time('direct', () =>
    Promise.all([
      hosts.card(source, 'card.redirectPort', { eniId, to }, cardCall(context)).catch(() => undefined),
      insist(context, () => hosts.card(target, 'card.activatePort', { eniId }, cardCall(context))),
    ]),
  );
  await faults.hit('migrate.critical.direct.after');
  // What the guest opened in its last moments on the source.
  await flowsOf(context, eniId)().catch(() => undefined);
  const { held, forwarded, dropped } = await hosts
    .card(target, 'card.closeQueue', { eniId, idleMs: queueIdleMs }, cardCall(context))
    .catch(() => counters);
  return { held, forwarded, dropped };
};

/** Tries until it succeeds or this processor stops; a newer owner's epoch ends it. */
const insist = async <T, R>({ services, signal }: Context<R>, work: () => Promise<T>): Promise<T> => {
  for (let pauseMs = askAgainMs; ; pauseMs = Math.min(pauseMs * 2, askAgainMsMax)) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted || PandoError.from(error).code === 'StaleEpoch') throw error;
      await services.clock.sleep(pauseMs, signal);
      if (signal.aborted) throw error;
    }
  }
};
