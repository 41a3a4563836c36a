/** A VM of the host's own: launched by the same way as a customer's, heard, and removed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { CommandKey } from '#contracts/host.ts';
import type { HostWanted } from '#contracts/rebuild.ts';
import { destroyVm } from '../destroy.ts';
import type { Host } from '../host.ts';
import { launchVm } from '../launch.ts';
import { validationHeardMsMax, validationLookMs } from '../limits.ts';
import { prepareNetwork } from '../network.ts';

export type Validation = NonNullable<HostWanted['validation']>;

/** Removes it, whatever state it is in. Not there: nothing. */
export const removeValidation = async (host: Host, key: CommandKey, instanceId: string): Promise<void> => {
  const vpcId = host.find(instanceId)?.record.network?.vpcId;
  await host.destroy({ ...key, step: `${key.step}/destroy` }, instanceId, destroyVm);
  if (vpcId !== undefined) await host.context.card.call('card.removeVpc', { vpcId });
};

const heardOf = async ({ context: { card } }: Host, eniId: string): Promise<string | undefined> => {
  const { ports } = await card.call('card.heard', { probe: [eniId] });
  const port = ports.find((each) => each.eniId === eniId);
  if (port?.metadataMs !== undefined) return 'it asked for its metadata';
  if (port?.dhcpMs !== undefined) return 'it asked for its address';
  return port?.arpMs === undefined ? undefined : 'it answered for its address';
};

/** How its guest was heard; undefined: it was not, or its VMM ended. @throws what a launch throws */
export const launchAndListen = async (
  host: Host,
  key: CommandKey,
  { instanceId, image, requirement, vpc, port, metadata }: Validation,
  heardMsMax = validationHeardMsMax,
): Promise<string | undefined> => {
  const command = (step: string): CommandKey => ({ ...key, step: `${key.step}/${step}` });
  await host.ensureImage(command('image'), instanceId, image);
  const network = await host.commandNew(command('network'), instanceId, (vm) =>
    prepareNetwork(vm, { command: command('network'), instanceId, vpc, port, metadata, activate: true }),
  );
  const vm = host.get(instanceId);
  const launch = { command: command('launch'), instanceId, requirement, image, network, incoming: false };
  await host.command(command('launch'), vm, () => launchVm(vm, launch));
  const until = monotonicMs() + heardMsMax;
  while (monotonicMs() < until) {
    if (!(await vm.alive()))
      throw new PandoError('InternalError', `its VMM ended: ${vm.record.ended?.detail ?? ''}`);
    const heard = await heardOf(host, port.eniId);
    if (heard !== undefined) return heard;
    await sleep(validationLookMs);
  }
  return undefined;
};
