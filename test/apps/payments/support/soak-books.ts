/** What the database says after a soak, beside what was answered. */
import { healthOf } from '#payments/ledger/proof.ts';
import { type Pool, run } from '#payments/store/pool.ts';
import { transaction } from '#payments/store/transaction.ts';

export interface Books {
  /** Payments that are booked more than once under one key. 0. */
  readonly doubleCharges: number;
  /** Booked payments that nobody was told of, or the other way round. 0. */
  readonly untoldCharges: number;
  /** Differences between what was answered and what the balances say. 0n. */
  readonly lostOrDoubledMinor: bigint;
  /** Of all postings, over the currencies (I10). 0n. */
  readonly sumMinor: bigint;
  readonly postings: bigint;
  /** Balances that their postings do not give, and transactions that do not sum to zero. 0. */
  readonly drifted: number;
}

const absolute = (minor: bigint): bigint => (minor < 0n ? -minor : minor);
/** Recomputing millions of postings takes longer than any statement of the service may. */
const checkMinutesMax = 15;

export const booksOf = (pool: Pool, expected: ReadonlyMap<string, bigint>, booked: number): Promise<Books> =>
  transaction(pool, async (client) => {
    await client.query(`set local statement_timeout = '${checkMinutesMax}min'`);
    const health = await healthOf(client);
    const [charges] = await run<{ keys: bigint; doubled: bigint }>(
      client,
      `select count(*) keys, count(*) filter (where n > 1) doubled
       from (select count(*) n from ledger_transaction where kind = 'payment' group by reference) t`,
    );
    const balances = await run<{ account_id: string; minor: string }>(
      client,
      'select account_id, sum(posted_minor)::text minor from ledger_balance group by account_id',
    );
    const kept = new Map(balances.map((row) => [row.account_id, BigInt(row.minor)]));
    return {
      doubleCharges: Number(charges?.doubled ?? 0n),
      untoldCharges: Math.abs(Number(charges?.keys ?? 0n) - booked),
      lostOrDoubledMinor: [...expected].reduce(
        (sum, [accountId, minor]) => sum + absolute((kept.get(accountId) ?? 0n) - minor),
        0n,
      ),
      sumMinor: health.sums.reduce((sum, each) => sum + absolute(each.sumMinor), 0n),
      postings: health.sums.reduce((sum, each) => sum + each.postings, 0n),
      drifted: health.drifted.length + health.unbalanced.length,
    };
  });
