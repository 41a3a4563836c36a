/** The end of a day: everything is recomputed, the result is written down, and the day takes no more postings. */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { type Queryable, run } from '../store/pool.ts';

const dayMs = 86_400_000;

export interface Health {
  /** Sum of all postings by currency. Every sum is 0n (I10). */
  readonly sums: readonly { currency: string; sumMinor: bigint; postings: bigint }[];
  /** Transactions that do not sum to zero. Empty. */
  readonly unbalanced: readonly string[];
  /** `account/sub` whose kept balance, sequence or held amount is not what its postings and holds say. Empty. */
  readonly drifted: readonly string[];
}

/** Recomputes sums and balances from the postings alone. */
export async function healthOf(on: Queryable): Promise<Health> {
  const sums = await run<{ currency: string; sum: string; n: bigint }>(
    on,
    'select currency, sum(amount_minor)::text sum, count(*) n from ledger_posting group by currency order by currency',
  );
  const unbalanced = await run<{ transaction_id: string }>(
    on,
    `select transaction_id from ledger_posting group by transaction_id, currency having sum(amount_minor) <> 0 limit 100`,
  );
  const drifted = await run<{ name: string }>(
    on,
    `select b.account_id || '/' || b.sub as name from ledger_balance b
     left join (select account_id, sub, sum(amount_minor) total, count(*) n, max(sequence) top
                from ledger_posting group by 1, 2) p using (account_id, sub)
     left join (select account_id, sub, sum(amount_minor) held from ledger_hold h
                where not exists (select 1 from ledger_hold_end e where e.hold_id = h.hold_id) group by 1, 2) h
       using (account_id, sub)
     where b.posted_minor <> coalesce(p.total, 0) or b.sequence <> coalesce(p.n, 0)
        or b.sequence <> coalesce(p.top, 0) or b.held_minor <> coalesce(h.held, 0) limit 100`,
  );
  return {
    sums: sums.map((row) => ({ currency: row.currency, sumMinor: BigInt(row.sum), postings: row.n })),
    unbalanced: unbalanced.map((row) => row.transaction_id),
    drifted: drifted.map((row) => row.name),
  };
}

export interface DayProof {
  /** `2026-11-26` */
  readonly day: string;
  readonly postings: bigint;
  /** SHA-256 over the previous proof's digest and every sub-account's last hash of the day, hex. */
  readonly digest: string;
  readonly health: Health;
}

/** Recomputing every posting may take longer than any statement of a request. */
const proofMinutesMax = 10;

/** What is kept of a day's proof; undefined: it has not been proved. */
export async function keptProof(on: Queryable, day: string): Promise<Omit<DayProof, 'health'> | undefined> {
  const [kept] = await run<{ postings: bigint; digest: string }>(
    on,
    `select postings, encode(digest, 'hex') digest from ledger_day_proof where day = $1`,
    [day],
  );
  return kept && { day, ...kept };
}

/**
 * Proves and closes the UTC day, once: a second call gives the kept proof. Throws where the books do not balance, and closes nothing.
 * Runs in the caller's transaction.
 */
export async function proveDay(client: pg.ClientBase, day: string, nowMs: number): Promise<DayProof> {
  const from = Date.parse(`${day}T00:00:00Z`);
  if (Number.isNaN(from)) throw new RangeError(`"${day}" is not a day: 2026-11-26`);
  if (from + dayMs > nowMs) throw new RangeError(`${day} is not over`);
  await client.query(`set local statement_timeout = '${proofMinutesMax}min'`);
  // Before the lock: the books balance at each COMMIT, so payments need not wait while all of them are recomputed.
  const health = await healthOf(client);
  const broken = brokenIn(health);
  if (broken.length > 0) throw new Error(`the books of ${day} do not balance: ${broken.join(', ')}`);
  // Writers of postings wait from here on; whoever committed before is seen, whoever comes after finds the day closed.
  await client.query('lock table ledger_transaction in share row exclusive mode');
  const kept = await keptProof(client, day);
  if (kept !== undefined) return { ...kept, health };
  const [last] = await run<{ digest: Buffer }>(
    client,
    'select digest from ledger_day_proof order by day desc limit 1',
  );
  const previous = last?.digest ?? Buffer.alloc(0);
  const { digest, postings } = await digestOf(client, from, previous);
  await run(
    client,
    'insert into ledger_day_proof (day, postings, digest, previous, at_ms) values ($1, $2, $3, $4, $5)',
    [day, postings, Buffer.from(digest, 'hex'), previous, nowMs],
  );
  return { day, postings, digest, health };
}

const brokenIn = (health: Health): string[] => [
  ...health.sums.filter((sum) => sum.sumMinor !== 0n).map((sum) => `${sum.currency} sums to ${sum.sumMinor}`),
  ...health.unbalanced.map((id) => `${id} is unbalanced`),
  ...health.drifted.map((name) => `${name} has drifted`),
];

async function digestOf(
  client: pg.ClientBase,
  fromMs: number,
  previous: Buffer,
): Promise<{ digest: string; postings: bigint }> {
  const heads = await run<{ account_id: string; sub: number; sequence: bigint; hash: string; n: bigint }>(
    client,
    `select distinct on (account_id, sub) account_id, sub, sequence, encode(hash, 'hex') hash,
       count(*) over (partition by account_id, sub) n
     from ledger_posting where at_ms >= $1 and at_ms < $2 order by account_id, sub, sequence desc`,
    [fromMs, fromMs + dayMs],
  );
  const hash = createHash('sha256').update(previous);
  for (const head of heads) hash.update(`${head.account_id}|${head.sub}|${head.sequence}|${head.hash}\n`);
  return { digest: hash.digest('hex'), postings: heads.reduce((sum, head) => sum + head.n, 0n) };
}
