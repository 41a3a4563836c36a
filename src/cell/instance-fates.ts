/** What this cell can say for certain about what is its own, for those who keep something of it. */
import type { Result } from '#base/rpc/contract.ts';
import type { cellPushContract } from '#contracts/region.ts';
import type { CellServices } from './services.ts';
import type { InstanceRow } from './store/instances.ts';

/**
 * `ended` is final: a terminated instance whose workflow is over never comes back. A missing row proves nothing, nor does one that speaks
 * of a VM in quarantine: an operator may still adopt it.
 */
export const instanceFates = async (
  { db, identity }: Pick<CellServices, 'db' | 'identity'>,
  instanceIds: readonly string[],
): Promise<Result<typeof cellPushContract, 'cell.instances'>> => {
  const rows = await db.query<Pick<InstanceRow, 'id' | 'state' | 'workflow_id'> & { kept: boolean }>(
    `select id, state, workflow_id, exists (select from quarantined_vms q where q.instance_id = i.id) as kept
     from instances i where id = any($1)`,
    [instanceIds],
  );
  const known = new Map(rows.map((row) => [row.id, row]));
  const instances = instanceIds.map((instanceId) => {
    const row = known.get(instanceId);
    if (row === undefined) return { instanceId, fate: 'unknown' as const };
    const ended = row.state === 'terminated' && row.workflow_id === null && !row.kept;
    return { instanceId, fate: ended ? ('ended' as const) : ('present' as const) };
  });
  return { cellId: identity.cellId, instances };
};

/** Which of these dedicated hosts an account has. */
export const ownedHosts = async (
  { db, identity }: Pick<CellServices, 'db' | 'identity'>,
  accountId: string,
  hostIds: readonly string[],
): Promise<Result<typeof cellPushContract, 'cell.dedicatedHosts'>> => {
  const rows = await db.query<{ id: string }>(
    `select id from dedicated_hosts where account_id = $1 and id = any($2) and state = 'available'`,
    [accountId, hostIds],
  );
  return { cellId: identity.cellId, hostIds: rows.map(({ id }) => id) };
};
