/**
 * Stop. Stopping → stopped: the disk stays on its host, vCPUs and memory are given back. A failing step is tried again until it
 * succeeds or the user terminates the instance, which cancels the rest.
 */
import type { VpcPort } from '#contracts/network.ts';
import { stopGraceMs } from '../limits.ts';
import type { CellServices } from '../services.ts';
import { defineWorkflow } from '../workflow/definition.ts';
import { releaseReserved } from './steps/leave-host.ts';
import { unplaceStopped } from './steps/network.ts';
import { unlessGone } from './steps/overtaken.ts';
import { settle } from './steps/settle.ts';

export interface StopInput {
  readonly hostId: string;
  readonly force: boolean;
  readonly epoch: number;
}

interface StopResults {
  stopVm: { readonly state: string };
  detachNetwork: null;
  /** Null: by the last release. */
  unplaceInterface: { readonly port: VpcPort } | null;
}

const forward = { none: 'a guest that was told to power down cannot be told otherwise' } as const;

export const stopWorkflow = defineWorkflow<StopInput, StopResults, CellServices>({
  kind: 'stop',
  steps: [
    {
      name: 'stopVm',
      why: 'the guest is asked first, so that its file systems are clean',
      onFailure: 'retry',
      retry: { deadlineMs: stopGraceMs * 2 },
      do: (context) => {
        const { services, input, command, subject } = context;
        const stopped = services.hosts.call(
          input.hostId,
          'vm.stop',
          { command, instanceId: subject, force: input.force, graceMs: stopGraceMs },
          { timeoutMs: stopGraceMs * 2 },
        );
        return unlessGone(context, input.hostId, stopped, { state: 'absent' });
      },
      undo: forward,
    },
    {
      name: 'detachNetwork',
      why: 'a stopped instance has no port on any card',
      onFailure: 'retry',
      do: async (context) => {
        const { services, input, command, subject } = context;
        const detached = services.hosts.call(input.hostId, 'vm.detachNetwork', {
          command,
          instanceId: subject,
        });
        await unlessGone(context, input.hostId, detached, {});
        return null;
      },
      undo: forward,
    },
    {
      name: 'unplaceInterface',
      why: 'other devices stop sending there; private and elastic addresses stay the instance’s, an automatic one goes back',
      onFailure: 'retry',
      do: (context) => unplaceStopped(context, context.input.epoch, true),
      undo: forward,
    },
  ],
  onDone: async (tx, context) => {
    await releaseReserved(tx, context.subject, 'disk');
    const { unplaceInterface: left } = context.results;
    return settle(tx, context, 'stopped', left ? { interface: left.port } : {});
  },
  onUndone: (tx, context) => settle(tx, context, 'stopping'),
});
