/** Taking public addresses out of the pool, putting them back, and moving them between interfaces. */
import { sql } from 'kysely';
import type { Region } from './region.ts';
import type { RegionTransaction, Row } from './schema.ts';

export type PublicAddress = Row<'public_address'>;

/** Takes a free address (the lowest that has rested, or `wanted`) for an account; undefined: there is none. */
export const takeAddress = async (
  tx: RegionTransaction,
  accountId: string,
  allocationId: string,
  wanted: string | undefined,
): Promise<PublicAddress | undefined> => {
  // `skip locked`: two takers at once look at different rows instead of waiting for each other.
  const { rows } = await sql<PublicAddress>`
    update public_address set account_id = ${accountId}, allocation_id = ${allocationId}
    where ip = (
      select ip from public_address
      where account_id is null and in_pool and rests_until <= now() and (${wanted ?? null}::text is null or ip = ${wanted ?? null})
      order by number limit 1 for update skip locked)
    returning *`.execute(tx);
  return rows[0];
};

/** Gives an address back to the pool. It rests before anyone gets it, so that traffic for its former owner dies out. */
export const freeAddress = async (tx: RegionTransaction, region: Region, ip: string): Promise<void> => {
  await sql`
    update public_address set account_id = null, allocation_id = null, eni_id = null, association_id = null,
      rests_until = now() + ${region.config.publicRestMs} * interval '1 millisecond'
    where ip = ${ip}`.execute(tx);
};

/** Takes whatever public address an interface has from it: an elastic one stays its account's, an automatic one is freed. */
export const unmapInterface = async (tx: RegionTransaction, region: Region, eniId: string): Promise<void> => {
  const present = await tx
    .selectFrom('public_address')
    .selectAll()
    .where('eni_id', '=', eniId)
    .forUpdate()
    .executeTakeFirst();
  if (present === undefined) return;
  if (present.allocation_id === null) await freeAddress(tx, region, present.ip);
  else await setInterface(tx, present.ip, null);
};

/** Maps an address to an interface, or to none. That each interface has at most one is the table's constraint (I6). */
export const setInterface = async (
  tx: RegionTransaction,
  ip: string,
  mapping: { readonly eniId: string; readonly associationId: string } | null,
): Promise<void> => {
  await tx
    .updateTable('public_address')
    .set({ eni_id: mapping?.eniId ?? null, association_id: mapping?.associationId ?? null })
    .where('ip', '=', ip)
    .execute();
};
