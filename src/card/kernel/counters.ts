/** Traffic of ports, from their taps' statistics. */
import type { LocalPort } from '../model/place.ts';
import { deviceTraffic } from './netDev.ts';

export interface PortCounters {
  readonly eniId: string;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly rxPackets: number;
  readonly txPackets: number;
}

/** As the VM sees it: what the tap sends, the VM receives. */
export const portCounters = async (
  namespace: string,
  ports: ReadonlyMap<string, LocalPort>,
): Promise<PortCounters[]> => {
  const devices = await deviceTraffic(namespace);
  return [...ports].flatMap(([eniId, { tap }]) => {
    const traffic = devices.get(tap);
    if (traffic === undefined) return [];
    const { rx, tx } = traffic;
    return [{ eniId, rxBytes: tx.bytes, txBytes: rx.bytes, rxPackets: tx.packets, txPackets: rx.packets }];
  });
};
