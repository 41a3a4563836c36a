/** Reboot: one command, which owns no instance and changes no state. */
import type { CellServices } from '../services.ts';
import { defineWorkflow } from '../workflow/definition.ts';

export interface RebootInput {
  readonly hostId: string;
  /** Says the generation, which a reboot does not raise. Absent: begun by a processor of the last release. */
  readonly epoch?: number;
}

export const rebootWorkflow = defineWorkflow<RebootInput, { rebootVm: null }, CellServices>({
  kind: 'reboot',
  steps: [
    {
      name: 'rebootVm',
      why: 'the request was acknowledged: it is carried out even if this processor dies now',
      do: async ({ services, input, command, subject }) => {
        await services.hosts.call(input.hostId, 'vm.reboot', { command, instanceId: subject });
        return null;
      },
      undo: { none: 'a reset guest cannot be un-reset' },
    },
  ],
});
