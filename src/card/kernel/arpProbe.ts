/**
 * Asks a guest over ARP whether it has its address. The card never asks by itself: it knows its guests' hardware addresses, so its
 * entries for them are permanent. For a moment the entry is one that the kernel confirms by asking; packets use it all the while, and
 * before the kernel would give it up (three seconds) it is permanent again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { arpAnswerMsMax } from '../limits.ts';
import { batchInside } from './namespace.ts';

const pollMs = 100;

export interface ProbedPort {
  readonly ip: string;
  readonly mac: string;
  readonly tap: string;
}

const entry = ({ ip, mac, tap }: ProbedPort, state: string): string =>
  `neigh replace ${ip} lladdr ${mac} dev ${tap} nud ${state}`;

/** Those of a namespace's ports that have answered, by their taps. */
export const askOverArp = async (namespace: string, ports: readonly ProbedPort[]): Promise<Set<string>> => {
  const answered = new Set<string>();
  const silent = (): readonly ProbedPort[] => ports.filter(({ tap }) => !answered.has(tap));
  const until = monotonicMs() + arpAnswerMsMax;
  try {
    await batchInside(
      namespace,
      'ip',
      ports.map((port) => entry(port, 'probe')),
    );
    while (silent().length > 0 && monotonicMs() < until) {
      await sleep(pollMs);
      const text = await batchInside(namespace, 'ip', ['neigh show nud reachable']);
      for (const { ip, tap } of silent()) if (text.includes(`${ip} dev ${tap} `)) answered.add(tap);
    }
  } finally {
    await batchInside(
      namespace,
      'ip',
      ports.map((port) => entry(port, 'permanent')),
    );
  }
  return answered;
};
