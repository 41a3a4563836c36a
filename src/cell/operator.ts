/** What an operator sees of the cell, and starts in it (`operator.*` of the cell's contract). */
import type { ParsedParams, Result } from '#base/rpc/contract.ts';
import type { cellOperatorContract } from '#contracts/cell-operator.ts';
import { PandoError } from '#contracts/errors.ts';
import { exactId } from '#contracts/ids.ts';
import { adoptVm, removeVm } from './hosts/adoption.ts';
import { homeOperations } from './hosts/homes.ts';
import type { Begun } from './lifecycle.ts';
import { beginMove } from './moves.ts';
import { capacityOperations } from './operator-capacity.ts';
import { hostOperations } from './operator-hosts.ts';
import { webhookOperations } from './operator-webhooks.ts';
import { workflowOperations } from './operator-workflows.ts';
import type { Pools } from './reconfiguration/pools.ts';
import type { CellServices } from './services.ts';
import { type HostRow, listHosts } from './store/hosts.ts';
import { lockInstances, type PlacedInstance } from './store/instances.ts';
import { listQuarantined } from './store/quarantine.ts';
import type { WorkflowEngine } from './workflow/engine.ts';

type Contract = typeof cellOperatorContract;
type MethodName = keyof Contract & string;

/** One function per operator method. */
export type Operator = {
  readonly [M in MethodName]: (params: ParsedParams<Contract, M>) => Promise<Result<Contract, M>>;
};

export interface OperatorOptions {
  readonly services: CellServices;
  readonly owner: string;
  readonly engine: WorkflowEngine<CellServices>;
  readonly pools: Pools;
  begun(begun: Begun): void;
}

const instancesShownMax = 10_000;

export const createOperator = ({ services, owner, engine, begun, pools }: OperatorOptions): Operator => ({
  ...hostOperations({ services, owner, pools, begun }),
  ...workflowOperations({ services, engine }),
  ...capacityOperations(services),
  ...webhookOperations(services),
  ...homeOperations(services),

  'operator.migrate': async ({ instanceId, targetHostId }) => {
    exactId('instance', instanceId);
    const { row, target, workflow } = await services.capacity.transaction(async (tx, placing) => {
      const [row] = await lockInstances(tx, undefined, [instanceId]);
      if (row === undefined) throw notFound(instanceId);
      return { row, ...(await beginMove({ services, owner }, tx, placing, row, { targetHostId })) };
    });
    begun({ changes: [], workflows: [workflow], cancelled: [] });
    return { workflowId: workflow.id, sourceHostId: row.host_id ?? '', targetHostId: target.hostId };
  },

  'operator.hosts': async () => ({
    cellId: services.identity.cellId,
    hosts: (await listHosts(services.db)).map((row) => showHost(row, services.hosts.has(row.id))),
  }),

  'operator.quarantined': async () => ({
    vms: (await listQuarantined(services.db)).map((vm) => ({
      ...{ instanceId: vm.instance_id, hostId: vm.host_id, reason: vm.reason, state: vm.report.state },
      ...{ firstSeen: vm.first_seen.toISOString(), lastSeen: vm.last_seen.toISOString() },
    })),
  }),

  'operator.adoptVm': ({ instanceId, hostId }) => adoptVm(services, exactId('instance', instanceId), hostId),

  'operator.removeVm': ({ instanceId, hostId }) =>
    removeVm(services, exactId('instance', instanceId), hostId),

  'operator.instances': async ({ hostId }) => {
    const rows = await services.db.query<PlacedInstance>(
      `select i.*, m.host_id as migration_host from instances i left join claims m on m.id = 'migration/' || i.id
       where i.terminated_at is null and ($1::text is null or i.host_id = $1 or m.host_id = $1)
       order by i.created_at, i.id limit $2`,
      [hostId ?? null, instancesShownMax],
    );
    return { instances: rows.map(showInstance) };
  },
});

const notFound = (id: string): PandoError => new PandoError('NotFound', `${id} is not known in this cell.`);

const showHost = (row: HostRow, connected: boolean): Result<Contract, 'operator.hosts'>['hosts'][number] => ({
  hostId: row.id,
  zone: row.zone,
  vtep: row.vtep,
  accelerator: row.accelerator,
  state: row.state,
  card: row.card,
  ...(row.pool === null ? {} : { pool: row.pool }),
  ...(row.phase === null ? {} : { phase: row.phase, phaseReason: row.phase_reason }),
  ...(row.rebuild_id === null ? {} : { workflowId: row.rebuild_id }),
  connected,
  heardAt: row.heard_at.toISOString(),
  capacity: {
    vcpus: row.capacity_vcpus_milli / 1000,
    memoryMib: row.capacity_memory_mib,
    diskMib: row.capacity_disk_mib,
  },
  used: { vcpus: row.used_vcpus_milli / 1000, memoryMib: row.used_memory_mib, diskMib: row.used_disk_mib },
});

const showInstance = (row: PlacedInstance): Result<Contract, 'operator.instances'>['instances'][number] => ({
  instanceId: row.id,
  accountId: row.account_id,
  state: row.state,
  instanceType: row.spec.instanceType,
  locked: row.locked,
  ...(row.host_id === null ? {} : { hostId: row.host_id }),
  ...(row.migration_host === null ? {} : { otherHostId: row.migration_host }),
  ...(row.workflow_id === null ? {} : { workflowId: row.workflow_id }),
});
