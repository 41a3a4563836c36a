/** The status checks of instances as they are shown now: what was judged of their VMs, and what is known of their hosts. */
import { type ShownChecks, shownChecks } from '../health/shown.ts';
import { hostAwayMsMax } from '../limits.ts';
import { ailingHosts, healthOf } from '../store/health.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';

/** Tells the checks of one of these rows. */
export const checksOf = async (
  context: CellContext,
  rows: readonly InstanceRow[],
): Promise<(row: InstanceRow) => ShownChecks> => {
  const { db, clock, hosts: sessions } = context.services;
  const running = rows.filter((row) => row.state === 'running').map((row) => row.id);
  const [ailing, health] = await Promise.all([ailingHosts(db, hostAwayMsMax), healthOf(db, running)]);
  return (row) => {
    const hostId = row.host_id ?? '';
    const host = {
      facts: ailing.get(hostId),
      connected: sessions.has(hostId),
      silentOnHealth: sessions.isSilentOnHealth(hostId),
    };
    return shownChecks(row, health.get(row.id), host, clock.now());
  };
};
