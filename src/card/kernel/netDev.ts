/** Traffic of a namespace's devices, by its `/proc/net/dev`. */
import { readNet } from './namespace.ts';

export interface DeviceTraffic {
  readonly rx: { readonly bytes: number; readonly packets: number };
  readonly tx: {
    readonly bytes: number;
    readonly packets: number;
    readonly dropped: number;
    readonly errors: number;
  };
}

/** `  tap0: 1296 16 0 0 0 0 0 0  9152 101 0 0 0 0 0 0`: eight figures of what was received, eight of what was sent. */
export const parseNetDev = (text: string): Map<string, DeviceTraffic> =>
  new Map(
    text.split('\n').flatMap((line): [string, DeviceTraffic][] => {
      const [, name, rest] = /^\s*([^\s:]+):\s*(.*)$/.exec(line) ?? [];
      const [rxBytes, rxPackets, , , , , , , txBytes, txPackets, errors, dropped] =
        rest?.split(/\s+/).map(Number) ?? [];
      if (name === undefined || rxBytes === undefined || rxPackets === undefined) return [];
      if (txBytes === undefined || txPackets === undefined || errors === undefined || dropped === undefined)
        return [];
      return [
        [
          name,
          {
            rx: { bytes: rxBytes, packets: rxPackets },
            tx: { bytes: txBytes, packets: txPackets, dropped, errors },
          },
        ],
      ];
    }),
  );

export const deviceTraffic = async (namespace: string): Promise<Map<string, DeviceTraffic>> =>
  parseNetDev(await readNet(namespace, 'dev'));
