/** Taking public addresses out of the pool, putting them back, and moving them between interfaces. */
import { sql } from 'kysely';
import { newId } from '#contracts/ids.ts';
import type { Region } from './region.ts';
import type { RegionTransaction, Row } from './schema.ts';

export type PublicAddress = Row<'public_address'>;

/** Takes a free address for an account: `wanted`, else one that has rested where there is one; undefined: there is none. */
export const takeAddress = async (
  tx: RegionTransaction,
  accountId: string,
  allocationId: string,
  wanted: string | undefined,
): Promise<PublicAddress | undefined> => {
  // `skip locked`, as in free_public_address(): two takers at once look at different rows instead of waiting for each other.
  const free =
    wanted === undefined
      ? sql`select free_public_address()`
      : sql`select ip from public_address where account_id is null and in_pool and ip = ${wanted} for update skip locked`;
  const { rows } = await sql<PublicAddress>`
    update public_address set account_id = ${accountId}, allocation_id = ${allocationId}
    where ip = (${free})
    returning *`.execute(tx);
  return rows[0];
};

/**
 * Of an interface that has just lost its elastic address, or has just been placed: an automatic one, where its launch asked for one and
 * it is placed and has none. False: the pool is empty, so it goes without; undefined: nothing was due.
 */
export const automaticAddress = (eniId: string) => sql<boolean | undefined>`(
  select assign_public_address(e.account_id, e.eni_id, ${newId('addressAssociation')})
  from eni e where e.eni_id = ${eniId} and e.auto_public and e.vtep is not null
    and not exists (select from public_address p where p.eni_id = e.eni_id))`;

/** An automatic address comes back once an elastic one went, as at EC2. Under the lock of the interface's VPC. */
export const restoreAutomatic = async (
  tx: RegionTransaction,
  region: Pick<Region, 'log'>,
  eniId: string,
): Promise<void> => {
  const { rows } = await sql<{
    assigned: boolean | null;
  }>`select ${automaticAddress(eniId)} as assigned`.execute(tx);
  noteEmptyPool(region, eniId, rows[0]?.assigned);
};

export const noteEmptyPool = (
  region: Pick<Region, 'log'>,
  eniId: string,
  assigned: boolean | null | undefined,
): void => {
  if (assigned === false)
    region.log.warn({ eniId }, 'no public address is free: an interface that should have one goes without');
};

/** Gives an address back to the pool. It rests before others get it where there are others, so that traffic for its former owner dies out. */
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

/** An instance that is stopped gives its automatic address back; an elastic one stays. Under the lock of the interface's VPC. */
export const releaseAutomatic = async (
  tx: RegionTransaction,
  region: Region,
  eniId: string,
): Promise<void> => {
  const automatic = await tx
    .selectFrom('public_address')
    .select('ip')
    .where('eni_id', '=', eniId)
    .where('allocation_id', 'is', null)
    .forUpdate()
    .executeTakeFirst();
  if (automatic !== undefined) await freeAddress(tx, region, automatic.ip);
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
