/**
 * Launch. Pending → running, or pending → terminated with nothing left.
 *
 * allocateInterface ∥ ensureImage → prepareNetwork → placeInterface ∥ launchVm → commission
 */
import { type StateReason, stateReasons } from '../instance-states.ts';
import type { CellServices } from '../services.ts';
import { findInstance } from '../store/instances.ts';
import { defineWorkflow } from '../workflow/definition.ts';
import { need, type PlaceInput } from './steps/inputs.ts';
import { type DestroyOutcome, destroyLaunched, leaveHost } from './steps/leave-host.ts';
import {
  type LaunchedInterface,
  launchedInterface,
  type NetworkResults,
  placeInterface,
  prepareNetwork,
  regionRetry,
} from './steps/network.ts';
import { settle } from './steps/settle.ts';
import { ensureImageStep, launchPrepared, launchRetry } from './steps/vmm.ts';

interface LaunchResults {
  allocateInterface: LaunchedInterface;
  ensureImage: { readonly fetched: boolean };
  prepareNetwork: NetworkResults;
  'prepareNetwork.undo'?: DestroyOutcome;
  placeInterface: { readonly unreachable: readonly string[] };
  launchVm: { readonly state: string };
  commission: null;
}

/** Codes with which a host fails a launch: no room by its own count, a VMM that does not start. */
const hostFailures: ReadonlySet<string> = new Set(['InsufficientInstanceCapacity', 'InternalError']);
const isHostFailure = ({ code, step }: { readonly code: string; readonly step: string }): boolean =>
  step.split('+').includes('launchVm') && hostFailures.has(code);

const reasonFor = (code: string): StateReason =>
  code === 'InsufficientInstanceCapacity' ? stateReasons.capacity : stateReasons.internal;

export const launchWorkflow = defineWorkflow<PlaceInput, LaunchResults, CellServices>({
  kind: 'launch',
  steps: [
    {
      name: 'allocateInterface',
      why: 'the address comes from the subnet, which the region owns',
      retry: regionRetry,
      do: launchedInterface,
      undo: async ({ services, subject, results }) => {
        // A VM that is left alone keeps its address.
        if (results['prepareNetwork.undo']?.newer === undefined)
          await services.region.call('region.releaseInterface', { instanceId: subject });
      },
    },
    {
      ...ensureImageStep,
      why: 'the host may have to fetch it: begun first, since it can take longest',
    },
    {
      name: 'prepareNetwork',
      why: 'the two network operations without which a VMM command is refused (S1.2)',
      do: (context) =>
        prepareNetwork(
          context,
          context.input,
          need(context.results.allocateInterface, 'allocateInterface'),
          true,
        ),
      undo: (context) => destroyLaunched(context),
    },
    {
      name: 'placeInterface',
      why: 'every other card and the gateway learn where the address is before the instance is shown as running',
      retry: regionRetry,
      do: (context) => {
        const { port } = need(context.results.allocateInterface, 'allocateInterface');
        return placeInterface(context, port.eniId, context.input.vtep, context.input.epoch);
      },
      undo: { none: 'releasing the interface removes its place' },
    },
    {
      name: 'launchVm',
      why: 'starts the VMM with requirement, image and the two network results (S1.4)',
      alongside: true,
      retry: launchRetry,
      do: (context) =>
        launchPrepared(
          context,
          need(context.results.allocateInterface, 'allocateInterface'),
          need(context.results.prepareNetwork, 'prepareNetwork'),
        ),
      undo: { none: 'undoing prepareNetwork destroys the VM whole: process, network and files' },
    },
    {
      name: 'commission',
      why: 'running, and seen as such, only when all of the above is so',
      do: async () => null,
      undo: { none: 'it is the last step' },
    },
  ],
  onDone: (tx, context) => {
    const { port } = need(context.results.allocateInterface, 'allocateInterface');
    return settle(tx, context, 'running', { interface: port });
  },
  onUndone: async (tx, context, error) => {
    const row = await findInstance(tx, context.subject);
    const byUser = row?.intent?.kind === 'terminate';
    await leaveHost(tx, context.subject, context.results['prepareNetwork.undo']);
    // What the host itself refused or could not do says something about this type there (S4.4).
    if (!byUser && row !== undefined && isHostFailure(error))
      context.services.capacity.adverse(context.input.hostId, 'launch-failed', row.spec.instanceType);
    return settle(tx, context, 'terminated', {
      terminated_at: new Date(context.services.clock.now()),
      ...(byUser ? {} : { state_reason: reasonFor(error.code), transition_reason: 'Server.InternalError' }),
    });
  },
});
