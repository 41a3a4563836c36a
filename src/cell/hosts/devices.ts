/** The cards of this cell's hosts as devices of the region's: what is told to one of them is passed on. */
import type { Handlers } from '#base/rpc/contract.ts';
import { probeTimeoutMs } from '#contracts/card-probe.ts';
import { PandoError } from '#contracts/errors.ts';
import { previewTimeoutMs } from '#contracts/kernel-preview.ts';
import type { cellPushContract } from '#contracts/region.ts';
import { vpcPushTimeoutMs } from '../limits.ts';
import type { CellServices } from '../services.ts';
import { hostAt } from '../store/hosts.ts';

type DeviceMethod = 'cell.deviceObjects' | 'cell.transact' | 'cell.preview' | 'cell.confirm' | 'cell.probe';

/** @throws NotFound: no host of this cell has this card */
const hostOf = async ({ db }: CellServices, deviceId: string): Promise<string> => {
  const [kind, vtep = ''] = deviceId.split('/');
  const hostId = kind === 'card' ? await hostAt(db, vtep) : undefined;
  if (hostId === undefined)
    throw new PandoError('NotFound', `${deviceId.slice(0, 80)} is not a card of this cell.`);
  return hostId;
};

export const deviceHandlers = (
  services: () => CellServices,
): Required<Pick<Handlers<typeof cellPushContract>, DeviceMethod>> => {
  const options = { timeoutMs: vpcPushTimeoutMs };
  return {
    'cell.deviceObjects': async ({ deviceId, vpcIds }) => {
      const hostId = await hostOf(services(), deviceId);
      return services().hosts.call(hostId, 'card.objects', { vpcIds }, options);
    },
    'cell.transact': async ({ deviceId, transaction }) => {
      const hostId = await hostOf(services(), deviceId);
      return services().hosts.call(hostId, 'card.transact', transaction, options);
    },
    'cell.preview': async ({ deviceId, transaction }) => {
      const hostId = await hostOf(services(), deviceId);
      return services().hosts.call(hostId, 'card.preview', transaction, { timeoutMs: previewTimeoutMs });
    },
    'cell.confirm': async ({ deviceId, ...confirmation }) => {
      const hostId = await hostOf(services(), deviceId);
      return services().hosts.call(hostId, 'card.confirm', confirmation, options);
    },
    'cell.probe': async ({ deviceId, probe }) => {
      const hostId = await hostOf(services(), deviceId);
      return services().hosts.call(hostId, 'card.probe', probe, { timeoutMs: probeTimeoutMs });
    },
  };
};
