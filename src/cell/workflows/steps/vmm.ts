/** A VM on a host: its image is fetched, its VMM started. */

import { randomUUID } from 'node:crypto';
import type { Result } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { hostContract, MigrationCredential } from '#contracts/host.ts';
import type { VpcPort } from '#contracts/network.ts';
import type { CellServices } from '../../services.ts';
import { amountOf, requirementOf } from '../../store/hosts.ts';
import type { StepContext } from '../../workflow/definition.ts';
import { loadInstance, type PlaceInput } from './inputs.ts';
import { type NetworkResults, prepareNetwork } from './network.ts';

const imageTimeoutMs = 600_000;
const launchTimeoutMs = 120_000;

/** A step that waits for a host's answer is tried for a little longer than one call may take. */
const beyondCallMs = 10_000;

export const launchRetry = { deadlineMs: launchTimeoutMs + beyondCallMs } as const;

/** Of every workflow that runs a VM on a host: beside the step before it, since it can take longest. */
export const ensureImageStep = {
  name: 'ensureImage',
  alongside: true,
  retry: { deadlineMs: imageTimeoutMs + beyondCallMs },
  do: <R>(context: StepContext<PlaceInput, R, CellServices>) => ensureImage(context, context.input.hostId),
  undo: { none: 'a cached image is the host’s to keep' },
} as const;

/** Makes the instance's image present on a host. */
const ensureImage = async <I, R>(
  context: StepContext<I, R, CellServices>,
  hostId: string,
): Promise<{ fetched: boolean }> => {
  const { command, subject, services } = context;
  const { spec } = await loadInstance(context);
  const image = { imageId: spec.image.imageId, digest: spec.image.digest };
  const params = { command, instanceId: subject, image };
  return services.hosts.call(hostId, 'vm.ensureImage', params, { timeoutMs: imageTimeoutMs });
};

/** Starts the VMM: at once (`diskRequired`: only on the disk that it had), or waiting for a migration from the VMM of `peer`. */
export const launchVm = async <I, R>(
  context: StepContext<I, R, CellServices>,
  hostId: string,
  network: NetworkResults,
  incoming: boolean,
  {
    peer,
    diskRequired,
  }: { readonly peer?: MigrationCredential | undefined; readonly diskRequired?: true } = {},
): Promise<Result<typeof hostContract, 'vm.launch'>> => {
  const { command, subject, services } = context;
  const row = await loadInstance(context);
  const image = { imageId: row.spec.image.imageId, digest: row.spec.image.digest };
  const requirement = requirementOf(amountOf(row));
  const params = { command, instanceId: subject, requirement, image, network, incoming, diskRequired, peer };
  return services.hosts.call(hostId, 'vm.launch', params, { timeoutMs: launchTimeoutMs });
};

/**
 * Starts the VMM on its prepared network. Where an agent or a card died in the middle of an earlier try, that network has served a VMM
 * which is no more, or is not the one that the host has recorded: then it is prepared again, once a try. Other causes of the same code
 * say the same again.
 */
export const launchPrepared = async <R>(
  context: StepContext<PlaceInput, R, CellServices>,
  allocated: { vpcId: string; port: VpcPort },
  network: NetworkResults,
  options: { readonly diskRequired?: true } = {},
): Promise<Result<typeof hostContract, 'vm.launch'>> => {
  const { input, command } = context;
  try {
    return await launchVm(context, input.hostId, network, false, options);
  } catch (error) {
    if (PandoError.from(error).code !== 'IncorrectState') throw error;
    // A step of its own each time: the host's record of an earlier one must not answer for it.
    const again = { ...context, command: { ...command, step: `${command.step}.prepare.${randomUUID()}` } };
    return launchVm(
      context,
      input.hostId,
      await prepareNetwork(again, input, allocated, true),
      false,
      options,
    );
  }
};
