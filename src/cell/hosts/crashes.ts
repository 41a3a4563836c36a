/** VMs that end for no known reason: kept of their host, whose next rebuild tests its memory, and told where they point there. */
import { suspicionOf } from '#reconfiguration/evidence.ts';
import type { CellServices } from '../services.ts';
import { type Crash, noteCrash } from '../store/crashes.ts';
import type { Sql } from '../store/sql.ts';

export const noteUnexplained = async (
  sql: Sql,
  { log }: Pick<CellServices, 'log'>,
  hostId: string,
  instanceId: string,
  cause: Crash['cause'],
): Promise<void> => {
  const crashes = await noteCrash(sql, hostId, { instanceId, cause });
  const vms = new Set(crashes.map((crash) => crash.instanceId));
  // One VM that ends again and again may itself be at fault.
  if (vms.size < 2 || suspicionOf({ crashes }) === undefined) return;
  log.warn(
    { host: hostId, instances: [...vms], alarm: 'host-suspected' },
    'several VMs ended on a host for no known reason: pando host rebuild --diagnose tests its memory',
  );
};
