/** What a step is given: its workflow's input, the instance's row, results of earlier steps. */

import { PandoError } from '#contracts/errors.ts';
import type { CellServices } from '../../services.ts';
import { findInstance, type InstanceRow } from '../../store/instances.ts';
import type { StepContext } from '../../workflow/definition.ts';

/** Where the instance goes or is, fixed when the workflow was made. */
export interface PlaceInput {
  readonly hostId: string;
  readonly vtep: string;
  /** Epoch of the interface's place for this workflow, and so its generation; its undo uses the next one. */
  readonly epoch: number;
}

const instanceKey = 'instance';

/** For a workflow that begins with the instance's row, which was written in the same transaction. */
export const knownInstance = (row: InstanceRow): Readonly<Record<string, unknown>> => ({
  [instanceKey]: row,
});

/** The instance as the workflow found it: what a host needs of it does not change while the workflow owns it. */
export const loadInstance = <I, R>(context: StepContext<I, R, CellServices>): Promise<InstanceRow> =>
  context.once(instanceKey, async () => {
    const row = await findInstance(context.services.db, context.subject);
    if (row === undefined)
      throw new PandoError(
        'InvalidInstanceID.NotFound',
        `The instance ID '${context.subject}' does not exist`,
      );
    return row;
  });

/** A result that an earlier step must have left: its absence is a fault in the table, not of a user. */
export const need = <T>(value: T | undefined, what: string): T => {
  if (value === undefined) throw new Error(`the result of ${what} is missing`);
  return value;
};
