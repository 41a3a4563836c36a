/** The profile that an instance runs with from now on. */
import { newCellId } from '#contracts/ids.ts';
import type { ProfileAssociation } from './store/instances.ts';

/** Its id names the cell, as an instance's does. */
export const newAssociation = (
  cellNumber: number,
  { name, arn, profileId }: { readonly name: string; readonly arn: string; readonly profileId: string },
  now: Date,
): ProfileAssociation => ({
  associationId: newCellId('instanceProfileAssociation', cellNumber),
  ...{ name, arn, profileId },
  since: now.toISOString(),
});
