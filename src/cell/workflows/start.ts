/**
 * Start. Stopped → pending → running on the host that has the disk, or back to stopped.
 *
 * ensureImage → prepareNetwork → placeInterface ∥ launchVm
 */
import { PandoError } from '#contracts/errors.ts';
import type { VpcPort } from '#contracts/network.ts';
import { stateReasons } from '../instance-states.ts';
import type { CellServices } from '../services.ts';
import { defineWorkflow, type WorkflowDefinition } from '../workflow/definition.ts';
import { need, type PlaceInput } from './steps/inputs.ts';
import { releaseReserved } from './steps/leave-host.ts';
import {
  interfaceOf,
  type NetworkResults,
  type Placed,
  placeInterface,
  prepareNetwork,
  regionRetry,
  unplaceStopped,
  withPlaced,
} from './steps/network.ts';
import { leftToNewer } from './steps/overtaken.ts';
import { settle } from './steps/settle.ts';
import { ensureImageStep, launchPrepared, launchRetry } from './steps/vmm.ts';

export interface StartResults {
  findInterface: { readonly vpcId: string; readonly port: VpcPort };
  ensureImage: { readonly fetched: boolean };
  prepareNetwork: NetworkResults;
  placeInterface: Placed;
  launchVm: { readonly state: string };
}

/** A host that is away runs nothing new for us, and what it still has its own report will show. */
const unlessAbsent = async (work: Promise<unknown>): Promise<void> => {
  try {
    await work;
  } catch (error) {
    if (PandoError.from(error).code !== 'HostUnreachable') throw error;
  }
};

/**
 * Also the steps of a recovery: the same host, the same disk. A start that fails leaves the instance stopped, without an automatic public
 * address; a recovery is tried again and keeps it, as at EC2.
 */
export const startSteps = ({
  releaseAutomatic,
}: {
  readonly releaseAutomatic: boolean;
}): WorkflowDefinition<PlaceInput, StartResults, CellServices>['steps'] => [
  {
    name: 'findInterface',
    why: 'groups and public address may have changed while it was stopped',
    retry: regionRetry,
    do: interfaceOf,
    undo: { none: 'the interface was there before' },
  },
  {
    ...ensureImageStep,
    why: 'the disk is an overlay of the image',
  },
  {
    name: 'prepareNetwork',
    why: 'the two network operations without which a VMM command is refused (S1.2)',
    do: (context) =>
      prepareNetwork(context, context.input, need(context.results.findInterface, 'findInterface'), true),
    undo: (context) => {
      const { services, input, command, subject } = context;
      return leftToNewer(
        context,
        unlessAbsent(services.hosts.call(input.hostId, 'vm.detachNetwork', { command, instanceId: subject })),
      );
    },
  },
  {
    name: 'placeInterface',
    why: 'other devices learn where the address is',
    retry: regionRetry,
    do: (context) => {
      const { port } = need(context.results.findInterface, 'findInterface');
      return placeInterface(context, port.eniId, context.input.vtep, context.input.epoch);
    },
    undo: (context) =>
      leftToNewer(context, unplaceStopped(context, context.input.epoch + 1, releaseAutomatic)),
  },
  {
    name: 'launchVm',
    why: 'starts the VMM on the disk that it had',
    alongside: true,
    retry: launchRetry,
    do: (context) =>
      launchPrepared(
        context,
        need(context.results.findInterface, 'findInterface'),
        need(context.results.prepareNetwork, 'prepareNetwork'),
        { diskRequired: true },
      ),
    undo: (context) => {
      const { services, input, command, subject } = context;
      const stop = { command, instanceId: subject, force: true, graceMs: 0 };
      return leftToNewer(context, unlessAbsent(services.hosts.call(input.hostId, 'vm.stop', stop)));
    },
  },
];

/** What the instance's row keeps of its interface: with the public address that it was given when it was placed. */
export const startedInterface = ({
  findInterface,
  placeInterface: placed,
}: Partial<StartResults>): VpcPort | null => {
  if (findInterface === undefined) return null;
  // A region of the last release does not say; there the address was the interface's before.
  return withPlaced(findInterface.port, placed?.publicIp ?? findInterface.port.publicIp);
};

export const startWorkflow = defineWorkflow<PlaceInput, StartResults, CellServices>({
  kind: 'start',
  steps: startSteps({ releaseAutomatic: true }),
  onDone: (tx, context) => settle(tx, context, 'running', { interface: startedInterface(context.results) }),
  onUndone: async (tx, context) => {
    await releaseReserved(tx, context.subject, 'disk');
    return settle(tx, context, 'stopped', {
      state_reason: stateReasons.internal,
      transition_reason: 'Server.InternalError',
    });
  },
});
