/**
 * Recover. An instance whose VM ended though nobody asked runs again on the same host and the same disk (EC2's AutoRecovery). It is
 * started by the steps of a start. When it fails it is left as running: the next report of its host shows that it is not, and either
 * the next try follows or, after the last, the instance is stopped (hosts/endings.ts).
 */
import type { CellServices } from '../services.ts';
import { defineWorkflow } from '../workflow/definition.ts';
import { type StartResults, startedInterface, startSteps } from './start.ts';
import type { PlaceInput } from './steps/inputs.ts';
import { settle } from './steps/settle.ts';

export const recoverWorkflow = defineWorkflow<PlaceInput, StartResults, CellServices>({
  kind: 'recover',
  steps: startSteps({ releaseAutomatic: false }),
  onDone: (tx, context) => settle(tx, context, 'running', { interface: startedInterface(context.results) }),
  onUndone: (tx, context) => settle(tx, context, 'running'),
});
