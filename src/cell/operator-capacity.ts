/** Capacity for operators: what fits where, why something does not, and whether the books balance. */
import type { ParsedParams, Result } from '#base/rpc/contract.ts';
import type { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import type { Amount } from '#slots/amount.ts';
import type { Needs } from '#slots/constraints.ts';
import { capacityOf, explain, type SizedType, slotsOf } from '#slots/report.ts';
import { groupNeeds } from './capacity/constrained.ts';
import { checkClaims } from './capacity/upkeep.ts';
import { instanceTypeCatalogue, sizeOf } from './instance-types.ts';
import type { CellServices } from './services.ts';
import { countClaims } from './store/claims-check.ts';
import { findGroup } from './store/placement-groups.ts';
import type { Sql } from './store/sql.ts';

type Contract = typeof cellOperatorContract;
type Names = 'operator.capacity' | 'operator.explainCapacity' | 'operator.checkClaims';
export type CapacityOperations = {
  readonly [M in Names]: (params: ParsedParams<Contract, M>) => Promise<Result<Contract, M>>;
};

const diskMibDefault = 8 * 1024;
const hostsShownDefault = 20;
const hostsExplainedDefault = 5;

const shown = (amount: Amount) => ({
  vcpus: amount.vcpusMilli / 1000,
  memoryMib: amount.memoryMib,
  diskMib: amount.diskMib,
  networkMbps: Number.isFinite(amount.networkMbps) ? amount.networkMbps : null,
});

const sized = (name: string, diskMib: number): SizedType => {
  const { vcpusMilli, memoryMib, networkMbps } = sizeOf(name);
  return { type: name, amount: { vcpusMilli, memoryMib, networkMbps, diskMib } };
};

/** What the type, the account and the group ask of hosts. @throws InvalidPlacementGroup.Unknown */
const needsFor = async (
  sql: Sql,
  asked: ParsedParams<Contract, 'operator.explainCapacity'>,
): Promise<Needs> => {
  const { type, groupId, partition, accountId, dedicated } = asked;
  const needs: Needs = {
    ...{ capabilities: sizeOf(type).needs ?? [], dedicated: dedicated ?? false },
    ...(accountId === undefined ? {} : { accountId }),
  };
  if (groupId === undefined) return needs;
  const row = await findGroup(sql, groupId);
  if (row === undefined)
    throw new PandoError(
      'InvalidPlacementGroup.Unknown',
      `The Placement Group '${groupId}' has no instances in this cell.`,
    );
  const group = { groupId, ...(partition === undefined ? {} : { partition }) };
  const [due] = await groupNeeds(sql, { holder: '', group }, row);
  return due === undefined ? needs : { ...needs, group: due };
};

export const capacityOperations = (services: CellServices): CapacityOperations => {
  const { capacity, identity, db, log } = services;
  const { cellId } = identity;
  const { view, fitness } = capacity;
  return {
    'operator.capacity': async ({ types, diskMib = diskMibDefault, hosts = hostsShownDefault }) => {
      await capacity.refresh();
      const demand = view.slots.demand.map(({ type, weight }) => ({ type, weight }));
      const names = types ?? [
        ...new Set([...instanceTypeCatalogue.map(({ name }) => name), ...demand.map(({ type }) => type)]),
      ];
      const all = view.slots.hosts();
      const roomiest = all
        .map(({ hostId }) => ({ hostId, free: view.slots.free(hostId)?.memoryMib ?? 0 }))
        .sort((a, b) => b.free - a.free || (a.hostId < b.hostId ? -1 : 1))
        .slice(0, hosts);
      return {
        cellId,
        hostsOpen: all.filter(({ open }) => open).length,
        hostsAll: all.length,
        demand,
        types: capacityOf(
          view.slots,
          names.map((name) => sized(name, diskMib)),
          fitness,
        ),
        hosts: roomiest.flatMap(({ hostId }) => {
          const slots = slotsOf(view.slots, hostId);
          if (slots === undefined) return [];
          const { open, free, actual, potential } = slots;
          return [
            {
              ...{ hostId, open, free: shown(free), actual: [...actual] },
              potential: potential.map(({ type, of }) => ({ type, of: [...of] })),
            },
          ];
        }),
      };
    },

    'operator.explainCapacity': async (asked) => {
      const { type, diskMib = diskMibDefault, hosts = hostsExplainedDefault } = asked;
      const { amount } = sized(type, diskMib);
      await capacity.refresh();
      const needs = await needsFor(db, asked);
      const verdicts = explain(view.slots, { type, amount, needs, fitness, max: view.slots.size });
      return {
        ...{ cellId, type, asked: shown(amount), fitting: verdicts.filter(({ fits }) => fits).length },
        hosts: verdicts.slice(0, hosts).map((verdict) => ({
          ...{ hostId: verdict.hostId, fits: verdict.fits, fitness: verdict.fitness },
          lacks: verdict.lacks.map((lack) => ({ ...lack })),
          ...(verdict.obstacle === undefined
            ? {}
            : {
                constraint: verdict.obstacle.constraint,
                constraintDetail: verdict.obstacle.detail,
              }),
          ...(verdict.closed
            ? { closed: view.row(verdict.hostId)?.state === 'draining' ? 'draining' : 'silent' }
            : {}),
        })),
      };
    },

    'operator.checkClaims': async () => {
      const { drifts, misfits } = await checkClaims({ db, log });
      return {
        cellId,
        claims: await countClaims(db),
        drifts: drifts.map(({ host_id: hostId, counted, claimed }) => ({
          ...{ hostId, counted: [...counted], claimed: [...claimed] },
        })),
        misfits: misfits.map(({ kind, subject, host_id: hostId }) => ({ kind, subject, hostId })),
      };
    },
  };
};
