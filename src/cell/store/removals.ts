/** The budget of what reconciliation may remove by itself: a store that is wrong about many VMs at once is held up, and people are told. */
import { removalsPerCellMax, removalsPerHostMax, removalWindowMs } from '../limits.ts';
import type { Sql } from './sql.ts';

/** One lock for the cell's budget: two processors that count at once would each see room for the last one. */
const budgetLock = 0x72_6d_76_6c;

/** Takes one removal from the budget. `tx` is a transaction of its own. Asking again for the same VM costs nothing more. */
export const takeRemoval = async (tx: Sql, hostId: string, instanceId: string): Promise<boolean> => {
  await tx.query('select pg_advisory_xact_lock($1)', [budgetLock]);
  await tx.query('delete from removals where at < now() - make_interval(secs => $1)', [
    removalWindowMs / 1000,
  ]);
  const [counted] = await tx.query<{ host: number; cell: number; mine: number }>(
    `select count(*) filter (where host_id = $1)::int as host, count(*)::int as cell,
       count(*) filter (where host_id = $1 and instance_id = $2)::int as mine from removals`,
    [hostId, instanceId],
  );
  if (counted === undefined) return false;
  if (counted.mine > 0) return true;
  if (counted.host >= removalsPerHostMax || counted.cell >= removalsPerCellMax) return false;
  await tx.query('insert into removals (host_id, instance_id) values ($1, $2)', [hostId, instanceId]);
  return true;
};
