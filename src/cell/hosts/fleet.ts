/** The cards of a cell's hosts, as the region counts its devices. */
import type { Handlers } from '#base/rpc/contract.ts';
import type { cellPushContract } from '#contracts/region.ts';
import type { CellServices } from '../services.ts';
import type { HostRow } from '../store/hosts.ts';

export const fleetHandlers = (
  services: () => CellServices,
  { cellId, zone }: { readonly cellId: string; readonly zone: string },
): Required<Pick<Handlers<typeof cellPushContract>, 'cell.devices'>> => ({
  'cell.devices': async () => {
    const { db, hosts } = services();
    const rows = await db.query<Pick<HostRow, 'id' | 'vtep' | 'card'>>(
      'select id, vtep, card from hosts order by id',
    );
    return {
      ...{ cellId, zone },
      devices: rows.map(({ id, vtep, card }) => ({
        deviceId: `card/${vtep}`,
        connected: hosts.has(id) && card === 'ok',
      })),
    };
  },
});
