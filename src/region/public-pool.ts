/** The pool of public addresses: one row each, so that two takers can never be given the same one (I6). */
import { sql } from 'kysely';
import { transact } from '#base/postgres/transaction.ts';
import type { RegionConfig } from './config.ts';
import { formatAddress, parseAddress, parseNetwork } from './ipv4.ts';
import type { Database } from './schema.ts';

export const publicAddressesMax = 65_536;

/** Makes the table's rows agree with the configuration. An address that left the pool stays with whoever has it. */
export const fillPublicPool = async (db: Database, pool: RegionConfig['publicPool']): Promise<void> => {
  const addresses = poolAddresses(pool);
  await transact(db, async (tx) => {
    await sql`lock table public_address in share row exclusive mode`.execute(tx);
    await sql`
      insert into public_address (ip, number)
      select host('0.0.0.0'::inet + number), number from unnest(${addresses}::bigint[]) as number
      on conflict (ip) do update set in_pool = true where not public_address.in_pool`.execute(tx);
    await sql`
      update public_address set in_pool = false where in_pool and number <> all (${addresses}::bigint[])`.execute(
      tx,
    );
  });
};

/** Network and broadcast address are never given out, whatever the configuration says. */
const poolAddresses = (pool: RegionConfig['publicPool']): readonly number[] => {
  const network = parseNetwork(pool.cidr);
  if (network === undefined) throw new Error(`publicPool.cidr: ${pool.cidr} is not a network`);
  if (network.size > publicAddressesMax)
    throw new Error(`publicPool.cidr: ${pool.cidr} has more than ${publicAddressesMax} addresses`);
  const bound = (text: string | undefined, otherwise: number): number =>
    (text === undefined ? undefined : parseAddress(text)) ?? otherwise;
  const first = Math.max(bound(pool.first, 0), network.base + 1);
  const last = Math.min(bound(pool.last, Number.MAX_SAFE_INTEGER), network.base + network.size - 2);
  const excluded = new Set(pool.excluded);
  const numbers = Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at);
  return numbers.filter((number) => !excluded.has(formatAddress(number)));
};
