/** Begins drains and rebuilds: the host is given to the workflow in the transaction that makes it. */
import { PandoError } from '#contracts/errors.ts';
import { newCellId } from '#contracts/ids.ts';
import type { HostCondition, HostWanted } from '#contracts/rebuild.ts';
import { firstLevel, strategyAt } from '#reconfiguration/passes.ts';
import type { Pool } from '#reconfiguration/pools.ts';
import { fullStrategy, type Strategy, withSuspicion, workOutStrategy } from '#reconfiguration/strategy.ts';
import { placeEpochOf } from '../generation.ts';
import type { Actor } from '../lifecycle.ts';
import type { CellServices } from '../services.ts';
import { findHost, type HostRow } from '../store/hosts.ts';
import { keptSteps, lockHost, readFeedback, takeHost } from '../store/rebuilds.ts';
import type { Sql } from '../store/sql.ts';
import { insertWorkflow, type NewWorkflow, type WorkflowRow } from '../store/workflows.ts';
import { newWorkflow } from '../workflows/new-workflow.ts';
import type { RebuildInput } from '../workflows/rebuild.ts';
import type { EmptyOptions } from '../workflows/steps/empty-host.ts';
import { hostClassOf, hostFactsOf, wantedHostOf } from './facts.ts';

/** What a host would get if it were rebuilt now. */
export interface Outlook {
  readonly row: HostRow;
  readonly condition: HostCondition;
  readonly wanted: HostWanted;
  readonly strategy: Strategy;
}

/** Asks the host how it is, and works its strategy out. @throws NotFound, HostUnreachable */
export const outlookOf = async (
  services: CellServices,
  hostId: string,
  pool: Pool | undefined,
  full: boolean,
): Promise<Outlook> => {
  const row = await findHost(services.db, hostId);
  if (row === undefined) throw new PandoError('NotFound', `${hostId} is not known in this cell.`);
  const condition = await services.hosts.call(hostId, 'rebuild.condition', {});
  const { vcpuOversubscription, memoryOversubscription } = pool?.layout ?? {};
  const { firmware, image } = services.hostManifest ?? {};
  const wanted: HostWanted = { layout: { vcpuOversubscription, memoryOversubscription }, firmware, image };
  const facts = hostFactsOf(row, condition, await keptSteps(services.db, hostId));
  const strategy = full
    ? withSuspicion(fullStrategy('an operator asked for all of it'), facts)
    : workOutStrategy(facts, wantedHostOf(wanted, condition), await readFeedback(services.db));
  return { row, condition, wanted, strategy };
};

const assertFree = (row: HostRow): void => {
  if (row.rebuild_id !== null)
    throw new PandoError(
      'IncorrectState',
      `${row.id} is being changed by ${row.rebuild_id} already: pando workflow show ${row.rebuild_id} tells how far it is.`,
    );
  if (row.leaving_to !== null)
    throw new PandoError(
      'IncorrectState',
      `${row.id} is on its way to ${row.leaving_to}: go on with pando host rehome.`,
    );
};

/**
 * As `outlookOf`, for who begins with it. A host that is being changed is away while it starts anew: that it is being changed is what
 * the caller must hear then, so its row is looked at before it is asked, and again where it does not answer.
 * @throws NotFound, IncorrectState, HostUnreachable
 */
export const outlookToBegin = async (...asked: Parameters<typeof outlookOf>): Promise<Outlook> => {
  const [{ db }, hostId] = asked;
  const assertStillFree = async (): Promise<void> => {
    const row = await findHost(db, hostId);
    if (row !== undefined) assertFree(row);
  };
  await assertStillFree();
  try {
    return await outlookOf(...asked);
  } catch (error) {
    await assertStillFree();
    throw error;
  }
};

const hostWorkflow = (services: CellServices, kind: string, hostId: string, input: unknown): NewWorkflow => ({
  ...newWorkflow(services, kind, hostId, input),
  subjectKind: 'host',
});

/** @throws NotFound, IncorrectState */
export const beginDrain = (
  { services, owner }: Actor,
  hostId: string,
  { ignoreWindows = false }: EmptyOptions = {},
): Promise<WorkflowRow> =>
  services.db.transaction(async (tx) => {
    assertFree(await lockHost(tx, hostId));
    const made = hostWorkflow(services, 'drain', hostId, {
      hostId,
      ...(ignoreWindows ? { ignoreWindows } : {}),
    });
    await takeHost(tx, hostId, { phase: 'draining', reason: 'an operator drains it', workflowId: made.id });
    return insertWorkflow(tx, made, owner);
  });

/** VMs are placed there again. @throws NotFound, IncorrectState */
export const endDrain = (services: CellServices, hostId: string): Promise<void> =>
  services.db.transaction(async (tx) => {
    const row = await lockHost(tx, hostId);
    assertFree(row);
    if (row.phase === 'out-of-service')
      throw new PandoError(
        'IncorrectState',
        `${hostId} is out of service (${row.phase_reason}): pando host rebuild brings it back, when it passes.`,
      );
    await tx.query(
      "update hosts set state = 'active', phase = null, phase_reason = '', epoch = epoch + 1 where id = $1",
      [hostId],
    );
  });

/** The input of a pass, made in the transaction that gives it the host. */
const passInput = async (
  tx: Sql,
  hostId: string,
  workflowId: string,
  reason: string,
  rest: Omit<RebuildInput, 'epoch'>,
): Promise<RebuildInput> => {
  const generation = await takeHost(tx, hostId, { phase: 'rebuilding', reason, workflowId });
  return { ...rest, epoch: placeEpochOf(generation) };
};

export interface RebuildOrder extends EmptyOptions {
  readonly pool?: Pool | undefined;
  /** For people. */
  readonly reason: string;
  /** A thorough pass at once. */
  readonly diagnose?: boolean;
  /** What must still be so, looked at in the same transaction before anything is locked. */
  check?(tx: Sql): Promise<void>;
}

/**
 * Begins a rebuild, for a pool or as it is; its VMs are moved away first.
 * @throws NotFound, IncorrectState, HostUnreachable
 */
export const beginRebuild = async (
  { services, owner }: Actor,
  { row, condition, wanted, strategy }: Outlook,
  { pool, reason, diagnose = false, ignoreWindows = false, whileOpen = false, check }: RebuildOrder,
): Promise<WorkflowRow> => {
  const level = diagnose ? 'diagnostics' : firstLevel(strategy);
  return services.db.transaction(async (tx) => {
    await check?.(tx);
    const locked = await lockHost(tx, row.id);
    assertFree(locked);
    const made = hostWorkflow(services, 'rebuild', row.id, null);
    const input = await passInput(tx, row.id, made.id, reason, {
      ...{ hostId: row.id, hostClass: hostClassOf(row), vtep: row.vtep, bootId: condition.bootId },
      ...{
        level,
        pass: 1,
        first: strategy,
        strategy: strategyAt(level, strategy),
        found: {},
        wanted,
        reason,
      },
      validationInstanceId: newCellId('instance', services.identity.cellNumber),
      // A host that served goes back to that when it turns out not to be empty.
      servedBefore: locked.state === 'active',
      ...(ignoreWindows ? { ignoreWindows } : {}),
      ...(whileOpen ? { whileOpen } : {}),
      ...(pool === undefined ? {} : { pool: { name: pool.name, layout: pool.layout } }),
    });
    return insertWorkflow(tx, { ...made, input }, owner);
  });
};

/** The pass that follows one that failed: in the transaction that ends that one. */
export const nextPass = async (
  tx: Sql,
  services: CellServices,
  input: RebuildInput,
  level: RebuildInput['level'],
): Promise<NewWorkflow> => {
  const made = hostWorkflow(services, 'rebuild', input.hostId, null);
  const { epoch: _, ...rest } = input;
  return {
    ...made,
    input: await passInput(tx, input.hostId, made.id, `${input.reason}; a ${level} pass`, {
      ...rest,
      level,
      pass: input.pass + 1,
      strategy: strategyAt(level, input.first),
    }),
  };
};
