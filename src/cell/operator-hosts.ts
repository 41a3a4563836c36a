/** Pools, drains and rebuilds for operators. */
import type { ParsedParams, Result } from '#base/rpc/contract.ts';
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import type { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import { firstLevel, type PassLevel, strategyAt } from '#reconfiguration/passes.ts';
import { faultsOf, type Pool, poolsMax } from '#reconfiguration/pools.ts';
import { rebuildSteps, typicalMs } from '#reconfiguration/steps.ts';
import { expectedMs, fullStrategy, type Strategy, skips } from '#reconfiguration/strategy.ts';
import { sizeOf } from './instance-types.ts';
import type { Begun } from './lifecycle.ts';
import { beginDrain, beginRebuild, endDrain, outlookOf, outlookToBegin } from './reconfiguration/begin.ts';
import { hostClassOf } from './reconfiguration/facts.ts';
import type { Pools } from './reconfiguration/pools.ts';
import type { CellServices } from './services.ts';
import { findHost } from './store/hosts.ts';
import { dropPool, listPools, putPool } from './store/pools.ts';
import { joinPool, type KeptSteps, keptSteps, lockHost, whatLiesThere } from './store/rebuilds.ts';
import type { WorkflowRow } from './store/workflows.ts';

type Contract = typeof cellOperatorContract;
type Names =
  | 'operator.pools'
  | 'operator.setPool'
  | 'operator.dropPool'
  | 'operator.demand'
  | 'operator.host'
  | 'operator.drainHost'
  | 'operator.rebuildHost';
export type HostOperations = {
  readonly [M in Names]: (params: ParsedParams<Contract, M>) => Promise<Result<Contract, M>>;
};

export interface HostOperationsOptions {
  readonly services: CellServices;
  readonly owner: string;
  readonly pools: Pools;
  begun(begun: Begun): void;
}

type ShownStrategy = Result<Contract, 'operator.rebuildHost'>['strategy'];

/** What each step took on this host, where it has been carried out; else what is typical. */
const tookOf = (kept: KeptSteps) =>
  Object.fromEntries(Object.entries(kept).map(([step, { ms }]) => [step, ms]));

const show = (strategy: Strategy, level: PassLevel, kept: KeptSteps): ShownStrategy => {
  const took: Readonly<Record<string, number>> = tookOf(kept);
  return {
    level,
    steps: rebuildSteps.map((step) => {
      const decision = strategy[step];
      const evidence = decision.decision === 'skip' ? decision.evidence : decision.against;
      return {
        ...{ step, decision: decision.decision, why: decision.why },
        ...(evidence && { evidence }),
        ...(decision.decision === 'skip' ? { riskMax: decision.riskMax } : {}),
        expectedMs: skips(strategy, step) ? 0 : (took[step] ?? typicalMs[step]),
      };
    }),
    expectedMs: expectedMs(strategy, took),
    fullMs: expectedMs(fullStrategy('all'), took),
  };
};

/** Nothing can be said of a host that is away, or whose agent is of the last release and knows no rebuilds. */
const ifSilent = (error: unknown): undefined => {
  if (PandoError.from(error).class !== 'unreachable' && !isUnknownMethod(error)) throw error;
};

const notFound = (what: string): PandoError =>
  new PandoError('NotFound', `${what} is not known in this cell.`);

export const hostOperations = ({ services, owner, pools, begun }: HostOperationsOptions): HostOperations => {
  const { db, identity } = services;
  const start = (workflow: WorkflowRow): string => {
    begun({ changes: [], workflows: [workflow], cancelled: [] });
    return workflow.id;
  };
  /** The pool that is named, else the one that the host is in. */
  const poolOf = async (name: string | undefined, hostId: string): Promise<Pool | undefined> => {
    const all = await listPools(db);
    const wanted = name ?? (await findHost(db, hostId))?.pool ?? undefined;
    const found = all.find((pool) => pool.name === wanted);
    if (name !== undefined && found === undefined) throw notFound(`Pool ${name}`);
    return found;
  };
  return {
    'operator.pools': async () => {
      const view = await pools.view();
      return {
        cellId: identity.cellId,
        pools: view.counts.map(({ pool, have, want, lacks, spares }) => {
          const unmet = view.unmet.find((each) => each.pool === pool.name);
          return {
            ...{ ...pool, layout: { ...pool.layout, types: pool.layout.types && [...pool.layout.types] } },
            ...{ have, want, lacks, spares, demanded: view.demand.get(pool.name) ?? 0 },
            ...(unmet === undefined ? {} : { unmet: unmet.why }),
            hosts: view.hosts.filter((host) => host.pool === pool.name).map(({ hostId }) => hostId),
          };
        }),
        changes: view.changes.map(({ hostId, from, to, why }) => ({ hostId, from, to, why })),
      };
    },

    'operator.setPool': async ({ hosts = [], ...pool }) => {
      const faults = faultsOf(pool);
      if (faults.length > 0)
        throw new PandoError(
          'InvalidParameterValue',
          `Pool ${pool.name.slice(0, 64)}: ${faults.join('; ')}.`,
        );
      for (const type of [pool.slotType, ...(pool.layout.types ?? [])]) sizeOf(type);
      await db.transaction(async (tx) => {
        const known = await listPools(tx);
        if (known.length >= poolsMax && !known.some(({ name }) => name === pool.name))
          throw new PandoError('InvalidParameterValue', `A cell has ${poolsMax} pools at most.`);
        await putPool(tx, pool);
        for (const hostId of [...hosts].sort()) {
          const row = await lockHost(tx, hostId);
          if (row.pool !== null && row.pool !== pool.name)
            throw new PandoError(
              'IncorrectState',
              `${hostId} is in pool ${row.pool}: pando host rebuild --pool ${pool.name} brings it over.`,
            );
          await joinPool(tx, hostId, pool, 0);
        }
      });
      return { name: pool.name };
    },

    'operator.dropPool': async ({ name }) => {
      if (!(await db.transaction((tx) => dropPool(tx, name)))) throw notFound(`Pool ${name}`);
      return { name };
    },

    'operator.demand': async ({ type, count }) => {
      pools.demand(type, count);
      return {};
    },

    'operator.host': async ({ hostId, pool: name, full }) => {
      const row = await findHost(db, hostId);
      if (row === undefined) throw notFound(hostId);
      const kept = await keptSteps(db, hostId);
      const pool = await poolOf(name, hostId);
      // A host that does not answer is shown all the same, with what is on record of it.
      const outlook = await outlookOf(services, hostId, pool, full ?? false).catch(ifSilent);
      return {
        ...{ hostId, hostClass: hostClassOf(row), state: row.state, phaseReason: row.phase_reason },
        ...(row.pool === null ? {} : { pool: row.pool }),
        ...(row.phase === null ? {} : { phase: row.phase }),
        ...(row.rebuild_id === null ? {} : { workflowId: row.rebuild_id }),
        ...(row.rests_until === null ? {} : { restsUntil: row.rests_until.toISOString() }),
        there: await whatLiesThere(db, hostId),
        steps: Object.entries(kept).map(([step, { ageMs, ok, changed, ms }]) => ({
          step,
          ageMs,
          ok,
          changed,
          ms,
        })),
        ...(outlook && { strategy: show(outlook.strategy, firstLevel(outlook.strategy), kept) }),
      };
    },

    'operator.drainHost': async ({ hostId, undo = false, ignoreWindows }) => {
      if (undo) {
        await endDrain(services, hostId);
        return { there: await whatLiesThere(db, hostId) };
      }
      const workflowId = start(await beginDrain({ services, owner }, hostId, { ignoreWindows }));
      return { workflowId, there: await whatLiesThere(db, hostId) };
    },

    'operator.rebuildHost': async ({
      hostId,
      pool: name,
      full = false,
      diagnose = false,
      ignoreWindows = false,
    }) => {
      const pool = await poolOf(name, hostId);
      const outlook = await outlookToBegin(services, hostId, pool, full || diagnose);
      const { strategy } = outlook;
      const level = diagnose ? 'diagnostics' : firstLevel(strategy);
      const reason = 'an operator asked for it';
      const order = { pool, reason, diagnose, ignoreWindows };
      const workflowId = start(await beginRebuild({ services, owner }, outlook, order));
      return { workflowId, strategy: show(strategyAt(level, strategy), level, await keptSteps(db, hostId)) };
    },
  };
};
