/** Every kind of workflow that a cell runs. */
import { launchWorkflow } from './launch.ts';
import { migrateWorkflow } from './migrate.ts';
import { rebootWorkflow } from './reboot.ts';
import { recoverWorkflow } from './recover.ts';
import { startWorkflow } from './start.ts';
import { stopWorkflow } from './stop.ts';
import { terminateWorkflow } from './terminate.ts';

export const workflowDefinitions = [
  launchWorkflow,
  startWorkflow,
  recoverWorkflow,
  stopWorkflow,
  rebootWorkflow,
  terminateWorkflow,
  migrateWorkflow,
] as const;
