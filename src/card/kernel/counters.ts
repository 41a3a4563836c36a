/** Traffic of ports, from their taps' statistics. */
import { z } from 'zod';
import type { LocalPort } from '../model/place.ts';
import { runInside } from './namespace.ts';

const side = z.object({ bytes: z.number(), packets: z.number() });
const statistics = z.array(
  z.object({ ifname: z.string(), stats64: z.object({ rx: side, tx: side }).optional() }),
);

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
  const devices = statistics.parse(JSON.parse(await runInside(namespace, 'ip -j -s link\n')));
  const byName = new Map(devices.map(({ ifname, stats64 }) => [ifname, stats64]));
  return [...ports].flatMap(([eniId, { tap }]) => {
    const stats = byName.get(tap);
    if (stats === undefined) return [];
    const { rx, tx } = stats;
    return [{ eniId, rxBytes: tx.bytes, txBytes: rx.bytes, rxPackets: tx.packets, txPackets: rx.packets }];
  });
};
