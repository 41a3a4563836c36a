/**
 * One pass of a rebuild (S5.2). The host is the subject; its strategy was worked out before (src/reconfiguration).
 *
 * moveVms → verifyEmpty ─┬→ isolate → powerCycle → firmwareCheck → diagnostics → scrub → hostImage → slotLayout
 *   (undone: it serves   │    → networkConfiguration → validationLaunch → returnToService
 *    again)              └ from here: forward, or another pass (reduced → full → diagnostics), or out of service (S5.5)
 *
 * Each step is durable: who comes after a crash goes on at the step that was under way. Steps may be repeated on the host.
 */
import { PandoError } from '#contracts/errors.ts';
import { firmwareDigest, type HostRebuildStep, type HostWanted } from '#contracts/rebuild.ts';
import { type Found, learn, nextLevel, type PassLevel } from '#reconfiguration/passes.ts';
import type { SlotLayout } from '#reconfiguration/pools.ts';
import { isSkippable, type RebuildStep, type SkippableStep } from '#reconfiguration/steps.ts';
import { isThorough, type Strategy, skips } from '#reconfiguration/strategy.ts';
import { hostGivenBackRestMs, hostRestMs, rebuildStepTimeoutMs } from '../limits.ts';
import { nextPass } from '../reconfiguration/begin.ts';
import { validationOf } from '../reconfiguration/validation.ts';
import type { CellServices } from '../services.ts';
import {
  joinPool,
  keepStep,
  keepTally,
  letGoOfHost,
  lockHost,
  readFeedback,
  whatLiesThere,
} from '../store/rebuilds.ts';
import type { Sql } from '../store/sql.ts';
import type { NewWorkflow } from '../store/workflows.ts';
import { TakenBack } from '../workflow/attempt.ts';
import { type AnyStep, defineWorkflow, type StepContext } from '../workflow/definition.ts';
import { retryClassOf } from '../workflow/retry.ts';
import type { Wait } from '../workflow/wait.ts';
import { cycledFromOutside } from './steps/cycle-power.ts';
import { type Emptied, emptyHost } from './steps/empty-host.ts';
import { untilMappingsConverge } from './steps/mappings.ts';
import type { Carried, StepResult } from './steps/rebuild-results.ts';

export interface RebuildInput {
  readonly hostId: string;
  readonly hostClass: string;
  readonly vtep: string;
  /** Says the host's generation, as an instance's does. */
  readonly epoch: number;
  /** The boot that the pass found. */
  readonly bootId: string;
  readonly level: PassLevel;
  /** 1: the first of its rebuild. */
  readonly pass: number;
  /** The strategy that the first pass began with, and that of this one. */
  readonly first: Strategy;
  readonly strategy: Strategy;
  /** What each step found in the passes so far, the first time that it was carried out. */
  readonly found: Readonly<Partial<Record<SkippableStep, Found>>>;
  readonly wanted: HostWanted;
  readonly validationInstanceId: string;
  readonly servedBefore: boolean;
  readonly pool?: { readonly name: string; readonly layout: SlotLayout };
  readonly reason: string;
  /** Absent: its VMs wait for their accounts' event windows. */
  readonly ignoreWindows?: boolean;
  /** A pool's: a window that closes before all have left gives the host back. */
  readonly whileOpen?: boolean;
}

type RebuildResults = { moveVms: Emptied } & { [S in RebuildStep]: StepResult };
type Context = StepContext<RebuildInput, RebuildResults, CellServices>;

/** Asks the host for a step. What it refuses, or finds wrong, ends the pass; what cannot be reached is waited for. */
const onHost = async (context: Context, step: HostRebuildStep, wanted: HostWanted): Promise<Carried> => {
  const { services, input, command } = context;
  const began = services.clock.monotonicMs();
  const answer = await services.hosts
    .call(input.hostId, 'rebuild.step', { command, step, wanted }, { timeoutMs: rebuildStepTimeoutMs })
    .catch((error: unknown) => {
      const failure = PandoError.from(error);
      const retried = retryClassOf(failure);
      if (retried === 'unreachable' || retried === 'busy' || failure.code === 'StaleEpoch') throw error;
      throw new TakenBack(`${step}: ${failure.message}`);
    });
  if (!answer.ok) throw new TakenBack(`${step}: ${answer.detail}`);
  return { skipped: false, ...answer, ms: services.clock.monotonicMs() - began };
};

const verifyEmpty = async (context: Context): Promise<StepResult> => {
  const { services, input, results } = context;
  const left = results.moveVms?.left ?? [];
  const there = [...left, ...(await whatLiesThere(services.db, input.hostId))];
  if (there.length > 0) throw new TakenBack(`${input.hostId} is not empty: ${there.join('; ')}`);
  await untilMappingsConverge(context, input.hostId);
  return onHost(context, 'verifyEmpty', {});
};

const wantedOf = async (context: Context, step: RebuildStep): Promise<HostWanted> => {
  const { input, services } = context;
  const { firmware, image, layout } = input.wanted;
  const thorough = input.level === 'diagnostics' || isThorough(input.first);
  if (step === 'firmwareCheck') return { firmware };
  if (step === 'diagnostics') return { thorough };
  if (step === 'hostImage') return { image };
  if (step === 'slotLayout') return { layout };
  if (step === 'validationLaunch') return { validation: await validationOf(services, input) };
  return {};
};

const carryOut = async (context: Context, step: RebuildStep): Promise<StepResult> => {
  const { strategy } = context.input;
  if (skips(strategy, step)) return { skipped: true, why: strategy[step].why };
  return onHost(context, step, await wantedOf(context, step));
};

const powerCycle = (context: Context): Promise<StepResult | Wait> => {
  const { services, input } = context;
  const { power } = services;
  return power?.has(input.hostId) && !skips(input.strategy, 'powerCycle')
    ? cycledFromOutside(context, power)
    : carryOut(context, 'powerCycle');
};

const noteStep = async (
  tx: Sql,
  { input }: Context,
  step: RebuildStep,
  result: StepResult,
): Promise<void> => {
  if (result.skipped) return;
  const { ok, changed, ms, condition } = result;
  const wanted = step === 'firmwareCheck' ? { wanted: firmwareDigest(input.wanted.firmware) } : {};
  await keepStep(tx, input.hostId, step, { ok, changed, ms, condition, ...wanted });
};

/** A step from which on there is no way back but another pass. */
const forward = <S extends RebuildStep>(
  name: S,
  why: string,
  work: (context: Context) => Promise<StepResult | Wait> = (context) => carryOut(context, name),
): AnyStep<RebuildInput, RebuildResults, CellServices> =>
  // One of the table's rows; which one, the name says.
  ({
    ...{ name, why, do: work, onFailure: 'retry', retry: { deadlineMs: rebuildStepTimeoutMs } },
    commit: (tx: Sql, context: Context, result: StepResult) => noteStep(tx, context, name, result),
    undo: { none: 'a host that was begun with is not given back half done: another pass follows' },
  }) as unknown as AnyStep<RebuildInput, RebuildResults, CellServices>;

/** What this pass found, beside what those before it did. */
const foundSoFar = ({ input, results }: Context): RebuildInput['found'] => {
  const now = Object.entries(results).flatMap(([step, result]): [string, Found][] => {
    const known = result as StepResult;
    return isSkippable(step as RebuildStep) && known?.skipped === false ? [[step, known]] : [];
  });
  const brief = now.map(([step, { ok, changed }]) => [step, { ok, changed }]);
  return { ...Object.fromEntries(brief), ...input.found };
};

/** What the rebuild says of the evidence that it went by is kept for the next ones of the class. */
const keepLessons = async (
  tx: Sql,
  context: Context,
  validated: boolean,
  found = foundSoFar(context),
): Promise<void> => {
  const { hostClass, first } = context.input;
  let feedback = await readFeedback(tx);
  for (const { key, outcome } of learn(hostClass, first, found, validated)) {
    feedback = feedback.noted(key, outcome);
    await keepTally(tx, key, feedback);
  }
};

const afterFailure = async (
  tx: Sql,
  context: Context,
  failure: { readonly step: string; readonly message: string },
): Promise<readonly NewWorkflow[]> => {
  const { services, input, workflowId } = context;
  const row = await lockHost(tx, input.hostId);
  if (row.rebuild_id !== workflowId) return [];
  const failed = failure.step as RebuildStep;
  const found = isSkippable(failed)
    ? { [failed]: { ok: false, changed: false }, ...foundSoFar(context) }
    : foundSoFar(context);
  const level = nextLevel(input.level);
  services.log.warn(
    { host: input.hostId, step: failure.step, reason: failure.message, next: level },
    'a pass of a rebuild failed',
  );
  if (level !== 'outOfService') return [await nextPass(tx, services, { ...input, found }, level)];
  await keepLessons(tx, context, false, found);
  const reason = `${failure.step}: ${failure.message}`;
  await letGoOfHost(tx, input.hostId, workflowId, { serves: false, phase: 'out-of-service', reason });
  services.log.error(
    { alarm: 'host-out-of-service', host: input.hostId, reason },
    'a host failed every pass of its rebuild and is out of service: pando host show tells why',
  );
  return [];
};

export const rebuildWorkflow = defineWorkflow<RebuildInput, RebuildResults, CellServices>({
  kind: 'rebuild',
  steps: [
    {
      name: 'moveVms',
      why: 'what runs there goes on elsewhere',
      do: (context) => emptyHost(context, context.input.hostId, context.input),
      undo: { none: 'what has moved stays where it is' },
    },
    {
      name: 'verifyEmpty',
      why: 'the proof on which everything after it stands: by the store’s books and by the host itself',
      do: verifyEmpty,
      commit: (tx, context, result) => noteStep(tx, context, 'verifyEmpty', result),
      // The host takes VMs again, unless it is being changed already.
      undo: async (context) => {
        const { results, input } = context;
        if (results.isolate === undefined && input.pass === 1) await onHost(context, 'reopen', {});
      },
    },
    {
      ...forward('isolate', 'nothing reaches a host that is being changed'),
      noReturn: true,
    },
    forward('powerCycle', 'what a boot removes is removed', powerCycle),
    forward('firmwareCheck', 'the versions are those of the manifest'),
    forward('diagnostics', 'memory, disk and network are tested'),
    forward('scrub', 'no byte of a former tenant stays (I8)'),
    forward('hostImage', 'the agent’s code is that of this release'),
    forward('slotLayout', 'capacity is cut as the pool says'),
    forward('networkConfiguration', 'card and fences are as configured, with nothing left over'),
    forward('validationLaunch', 'a VM of its own answers before a customer’s comes'),
    forward('returnToService', 'it takes VMs'),
  ],
  onDone: async (tx, context) => {
    const { input, workflowId } = context;
    const row = await lockHost(tx, input.hostId);
    if (row.rebuild_id !== workflowId) return [];
    await keepLessons(tx, context, input.pass === 1);
    await joinPool(tx, input.hostId, input.pool, hostRestMs);
    await letGoOfHost(tx, input.hostId, workflowId, { serves: true, phase: null, reason: '' });
    return [];
  },
  onUndone: async (tx, context, failure) => {
    const { input, workflowId, results } = context;
    if (results.verifyEmpty !== undefined || input.pass > 1) return afterFailure(tx, context, failure);
    await letGoOfHost(tx, input.hostId, workflowId, {
      serves: input.servedBefore,
      phase: input.servedBefore ? null : 'draining',
      reason: failure.message,
      // Else its pool would choose it again at once, and never another one that can be emptied.
      restMs: hostGivenBackRestMs,
    });
    return [];
  },
});
