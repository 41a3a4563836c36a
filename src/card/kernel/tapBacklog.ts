/** What a VMM has not read yet of a tap: frames that the device took, less those that it gave. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { tapEmptyMsMax } from '../limits.ts';
import { batchInside } from './namespace.ts';
import { deviceTraffic } from './netDev.ts';

const disciplines = z.array(
  z.object({ root: z.boolean().optional(), packets: z.number(), qlen: z.number() }),
);

/**
 * Frames that wait in the tap. A tap counts a frame as sent when the VMM reads it, its queueing discipline when the tap takes it.
 * undefined: this kernel's figures do not tell.
 */
const waitingFrames = async (namespace: string, tap: string): Promise<number | undefined> => {
  const shown: unknown = JSON.parse(await batchInside(namespace, 'tc', [`qdisc show dev ${tap}`]));
  const root = disciplines.safeParse(shown).data?.find((each) => each.root);
  const sent = (await deviceTraffic(namespace)).get(tap)?.tx;
  if (root === undefined || sent === undefined) return undefined;
  const waiting = root.packets + root.qlen - sent.packets - sent.dropped;
  return waiting < 0 ? undefined : waiting;
};

/** Resolves when the VMM has read what was in the tap, after `tapEmptyMsMax` at most, and then where it cannot be told. */
export const tapEmptied = async (namespace: string, tap: string, log: Logger): Promise<void> => {
  const until = monotonicMs() + tapEmptyMsMax;
  for (;;) {
    const waiting = await waitingFrames(namespace, tap).catch(() => undefined);
    if (waiting === 0) return;
    const left = until - monotonicMs();
    if (waiting === undefined) return void (await sleep(Math.max(0, left)));
    if (left <= 0) return log.warn({ tap, waiting }, 'the VMM has not read its tap in time');
    await sleep(1);
  }
};
