/** The way of the guest's packets on the source's card, around a switch. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import { PandoError } from '#contracts/errors.ts';
import type { packetWay } from '#contracts/host.ts';
import type { Vm } from '../vm.ts';

type PacketWay = z.infer<typeof packetWay>;

/** Until the guest has been handed over: the card takes it back by itself after `lapseMs`, should this agent die. */
export const redirectForNow = (vm: Vm, way: PacketWay, lapseMs: number): Promise<unknown> =>
  vm.context.card.call('card.redirectPort', { ...way, lapseMs });

/** Well before the redirection lapses. */
const keepAfterMs = 200;

/** A card that is started again, and has been told to redirect for now, does so for as long again. */
const keepTriesMax = 10;
const keepAgainMs = 500;

/** The guest was handed over: its packets stay redirected. Not redirected by us: nothing. Failures are logged. */
export const keepRedirect = async (vm: Vm): Promise<void> => {
  const { migration } = vm.record;
  const way = migration?.role === 'source' ? migration.redirect : undefined;
  if (way === undefined) return;
  // The guest warms up on its new host, perhaps on this same machine's processors: what has time waits.
  await sleep(keepAfterMs);
  for (let tries = 1; vm.record.migration === migration && !vm.context.closed; tries++) {
    try {
      await vm.context.card.call('card.redirectPort', { ...way, keep: true });
      return;
    } catch (error) {
      const gone = PandoError.from(error).code === 'InvalidNetworkInterfaceID.NotFound';
      if (gone || tries >= keepTriesMax)
        return failed(vm, error, 'the card was not told to keep a redirection');
    }
    await sleep(keepAgainMs);
  }
};

/** The guest runs here again. A card that cannot be told takes the redirection back by itself. */
export const takeRedirectBack = async (vm: Vm, eniId: string): Promise<void> => {
  await vm.context.card
    .call('card.redirectPort', { eniId })
    .catch((error: unknown) => failed(vm, error, 'the card was not told to take a redirection back'));
};

const failed = ({ context, record }: Vm, error: unknown, what: string): void =>
  context.log.warn({ err: error, instanceId: record.instanceId }, what);
