/** Every kind of workflow that a cell runs, in every version that it still finishes. */
import type { CellServices } from '../services.ts';
import type { ErasedDefinition } from '../workflow/definition.ts';
import { cursorOrders } from './cursor-orders.ts';
import { drainWorkflow } from './drain.ts';
import { launchWorkflow } from './launch.ts';
import { migrateWorkflow } from './migrate.ts';
import { rebootWorkflow } from './reboot.ts';
import { rebuildWorkflow } from './rebuild.ts';
import { recoverWorkflow } from './recover.ts';
import { startWorkflow } from './start.ts';
import { stopWorkflow } from './stop.ts';
import { terminateWorkflow } from './terminate.ts';

const withCursorOrder = (definition: ErasedDefinition<CellServices>): ErasedDefinition<CellServices> => {
  const cursorOrder = cursorOrders[definition.kind];
  return cursorOrder === undefined ? definition : { ...definition, cursorOrder };
};

export const workflowDefinitions: readonly ErasedDefinition<CellServices>[] = [
  launchWorkflow,
  startWorkflow,
  recoverWorkflow,
  stopWorkflow,
  rebootWorkflow,
  terminateWorkflow,
  migrateWorkflow,
  drainWorkflow,
  rebuildWorkflow,
].map(withCursorOrder);
