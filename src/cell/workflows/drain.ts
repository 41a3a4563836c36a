/** Empties a host by live migration and keeps it out of placement (S5.6). The host is the subject. */
import type { CellServices } from '../services.ts';
import { letGoOfHost } from '../store/rebuilds.ts';
import { defineWorkflow } from '../workflow/definition.ts';
import { Wait } from '../workflow/wait.ts';
import { type Emptied, emptyHost } from './steps/empty-host.ts';
import { untilMappingsConverge } from './steps/mappings.ts';

export interface DrainInput {
  readonly hostId: string;
  /** Absent: of the last release, or VMs wait for their accounts' event windows. */
  readonly ignoreWindows?: boolean;
}

export const drainWorkflow = defineWorkflow<DrainInput, { moveVms: Emptied }, CellServices>({
  kind: 'drain',
  steps: [
    {
      name: 'moveVms',
      why: 'what runs there goes on elsewhere; what cannot be moved is told',
      do: async (context) => {
        const { input, services } = context;
        const emptied = await emptyHost(context, input.hostId, input);
        // Who hears that it is empty may turn it off. One that is away forwards nothing as far as anybody knows.
        if (!(emptied instanceof Wait) && services.hosts.has(input.hostId))
          await untilMappingsConverge(context, input.hostId);
        return emptied;
      },
      undo: { none: 'what has moved stays where it is' },
    },
  ],
  onDone: async (tx, { input, workflowId, results }) => {
    const left = results.moveVms?.left ?? [];
    const reason = left.length === 0 ? 'drained: it is empty' : `drained, but for: ${left.join('; ')}`;
    await letGoOfHost(tx, input.hostId, workflowId, { serves: false, phase: 'draining', reason });
    return [];
  },
  onUndone: async (tx, { input, workflowId }, { message }) => {
    const reason = `the drain ended before all had left: ${message}`;
    await letGoOfHost(tx, input.hostId, workflowId, { serves: false, phase: 'draining', reason });
    return [];
  },
});
