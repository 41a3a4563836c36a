/** An account's statement, and the means to recompute it without trusting whoever made it. */
import { createHash } from 'node:crypto';
import { PaymentsError } from '../base/errors.ts';
import { type Queryable, run } from '../store/pool.ts';
import type { Account } from './ledger.ts';

export const statementEntriesMax = 10_000;

export interface Entry {
  readonly sequence: number;
  readonly sub: number;
  readonly transactionId: string;
  readonly kind: string;
  readonly atMs: number;
  readonly amountMinor: bigint;
  readonly balanceMinor: bigint;
  /** SHA-256 of the hash before it and this entry's fields, hex. */
  readonly hash: string;
}

export interface LedgerStatement {
  readonly accountId: string;
  readonly currency: string;
  readonly openingMinor: bigint;
  readonly closingMinor: bigint;
  readonly entries: readonly Entry[];
}

/** All entries with `fromMs` ≤ time < `toMs`, and the balance before and after them. Error: `limit_reached` where they are too many. */
export async function statementOf(
  on: Queryable,
  account: Account,
  fromMs: number,
  toMs: number,
): Promise<LedgerStatement> {
  const rows = await run<{
    sequence: bigint;
    sub: number;
    transaction_id: string;
    kind: string;
    at_ms: bigint;
    amount_minor: bigint;
    balance_minor: bigint;
    hash: string;
  }>(
    on,
    `select p.sequence, p.sub, p.transaction_id, t.kind, p.at_ms, p.amount_minor, p.balance_minor, encode(p.hash, 'hex') hash
     from ledger_posting p join ledger_transaction t using (transaction_id)
     where p.account_id = $1 and p.at_ms >= $2 and p.at_ms < $3 order by p.sub, p.sequence limit $4`,
    [account.accountId, fromMs, toMs, statementEntriesMax + 1],
  );
  // A statement that left something out would not be one.
  if (rows.length > statementEntriesMax)
    throw new PaymentsError(
      'limit_reached',
      `A statement has at most ${statementEntriesMax} entries: ask for a shorter time by from and to.`,
    );
  const [before] = await run<{ sum: string }>(
    on,
    'select coalesce(sum(amount_minor), 0)::text sum from ledger_posting where account_id = $1 and at_ms < $2',
    [account.accountId, fromMs],
  );
  const openingMinor = BigInt(before?.sum ?? 0);
  return {
    accountId: account.accountId,
    currency: account.currency,
    openingMinor,
    closingMinor: rows.reduce((sum, row) => sum + row.amount_minor, openingMinor),
    entries: rows.map((row) => ({
      sequence: Number(row.sequence),
      sub: row.sub,
      transactionId: row.transaction_id,
      kind: row.kind,
      atMs: Number(row.at_ms),
      amountMinor: row.amount_minor,
      balanceMinor: row.balance_minor,
      hash: row.hash,
    })),
  };
}

/** The hash that the chain must have after an entry. `before`: hex, empty for a sub-account's first entry. */
export function chainHash(
  accountId: string,
  currency: string,
  entry: Omit<Entry, 'hash' | 'kind'>,
  before: string,
): string {
  const fields = [
    accountId,
    entry.sub,
    entry.sequence,
    entry.transactionId,
    currency,
    entry.amountMinor,
    entry.balanceMinor,
    entry.atMs,
  ];
  return createHash('sha256').update(Buffer.from(before, 'hex')).update(fields.join('|')).digest('hex');
}

/** What is wrong with a whole statement (from the account's first entry on); empty when it holds. For auditors and tests. */
export function auditStatement(statement: LedgerStatement): readonly string[] {
  const wrong: string[] = [];
  const chains = new Map<number, { sequence: number; balance: bigint; hash: string }>();
  let total = statement.openingMinor;
  for (const entry of statement.entries) {
    const at = `entry ${entry.sub}/${entry.sequence}`;
    const chain = chains.get(entry.sub) ?? { sequence: 0, balance: 0n, hash: '' };
    if (entry.sequence !== chain.sequence + 1) wrong.push(`${at} follows ${chain.sequence}`);
    if (entry.balanceMinor !== chain.balance + entry.amountMinor) wrong.push(`${at} has a wrong balance`);
    if (entry.hash !== chainHash(statement.accountId, statement.currency, entry, chain.hash))
      wrong.push(`${at} breaks the hash chain`);
    chains.set(entry.sub, { sequence: entry.sequence, balance: entry.balanceMinor, hash: entry.hash });
    total += entry.amountMinor;
  }
  if (total !== statement.closingMinor) wrong.push('the closing balance is not the sum of the entries');
  return wrong;
}
