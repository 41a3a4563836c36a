/** What all devices of a card have carried and dropped since they are there. */

import type { Device } from '../device.ts';
import { readNet } from '../kernel/namespace.ts';
import { parseNetDev } from '../kernel/netDev.ts';

export const cardCounters = async ({ vpcs }: Device): Promise<{ packets: number; dropped: number }> => {
  const open = [...vpcs.values()].filter(({ isOpen }) => isOpen);
  const texts = await Promise.all(open.map(({ namespace }) => readNet(namespace, 'dev').catch(() => '')));
  const traffic = texts.flatMap((text) => [...parseNetDev(text).values()]);
  return {
    packets: traffic.reduce((sum, { rx, tx }) => sum + rx.packets + tx.packets, 0),
    dropped: traffic.reduce((sum, { tx }) => sum + tx.dropped + tx.errors, 0),
  };
};
