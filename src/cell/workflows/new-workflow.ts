/** The row of a workflow that begins. */

import { newCellId } from '#contracts/ids.ts';
import type { CellServices } from '../services.ts';
import type { NewWorkflow } from '../store/workflows.ts';
import { versionOf } from './versions.ts';

const newWorkflowId = (services: Pick<CellServices, 'identity'>): string =>
  newCellId('workflow', services.identity.cellNumber);

export const newWorkflow = (
  services: Pick<CellServices, 'identity'>,
  kind: string,
  subject: string,
  input: unknown,
): NewWorkflow => ({ id: newWorkflowId(services), kind, version: versionOf(kind), subject, input });
