/** Tells the region which accounts have instances here, again and again: its index must never have fewer (S3.10). */
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import { accountsPerNoteMax } from '#contracts/region.ts';
import type { CellServices } from './services.ts';

export const noteAccounts = async ({
  db,
  region,
  identity,
}: Pick<CellServices, 'db' | 'region' | 'identity'>): Promise<void> => {
  let after = '';
  for (;;) {
    const rows = await db.query<{ account_id: string }>(
      'select distinct account_id from instances where account_id > $1 order by account_id limit $2',
      [after, accountsPerNoteMax],
    );
    const accountIds = rows.map(({ account_id }) => account_id);
    const last = accountIds.at(-1);
    if (last === undefined) return;
    try {
      await region.call('region.noteAccounts', { cellId: identity.cellId, accountIds });
    } catch (error) {
      // A region of the last release has no index.
      if (isUnknownMethod(error)) return;
      throw error;
    }
    if (accountIds.length < accountsPerNoteMax) return;
    after = last;
  }
};
