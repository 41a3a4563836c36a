/** Terminate. Shutting-down → terminated: only forward, nothing left on host, card or region (S1.12). */
import type { CellServices } from '../services.ts';
import { defineWorkflow } from '../workflow/definition.ts';
import { keepConsoleOf } from './steps/console.ts';
import { type DestroyOutcome, destroyOrLeave, destroyRetry, leaveHost } from './steps/leave-host.ts';
import { settle } from './steps/settle.ts';

export interface TerminateInput {
  readonly hostId: string | null;
  /** Says the generation. Absent: begun by a processor of the last release. */
  readonly epoch?: number;
}

interface TerminateResults {
  destroyVm: DestroyOutcome;
  releaseInterface: null;
}

export const terminateWorkflow = defineWorkflow<TerminateInput, TerminateResults, CellServices>({
  kind: 'terminate',
  steps: [
    {
      name: 'destroyVm',
      why: 'first, so that nothing speaks from an address that is free',
      onFailure: 'retry',
      retry: destroyRetry,
      noReturn: true,
      do: async (context) => {
        const { hostId } = context.input;
        if (hostId === null) return { destroyed: true };
        await keepConsoleOf(context, hostId);
        return destroyOrLeave(context, hostId);
      },
      undo: { none: 'a user’s termination is final' },
    },
    {
      name: 'releaseInterface',
      why: 'addresses go back to the subnet and the pool; other devices forget them',
      onFailure: 'retry',
      do: async ({ services, subject, results }) => {
        // A VM that is left alone keeps its address.
        if (results.destroyVm?.newer !== undefined) return null;
        await services.region.call('region.releaseInterface', { instanceId: subject });
        return null;
      },
      undo: { none: 'a user’s termination is final' },
    },
  ],
  onDone: async (tx, context) => {
    await leaveHost(tx, context.subject, context.results.destroyVm);
    return settle(tx, context, 'terminated', {
      terminated_at: new Date(context.services.clock.now()),
      interface: null,
    });
  },
});
