/**
 * The ledger: accounts, transfers, holds (S9.5). Every function runs inside the caller's database transaction, so that money
 * moves together with the row that says why. Amounts are whole minor units as bigint.
 */
import { PaymentsError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Currency } from '../contract/primitives.ts';
import { first, type Queryable, run } from '../store/pool.ts';
import { constraintOf } from '../store/transaction.ts';
import { balanceBounded, noOverdraft, sameCurrency } from './schema.ts';
import { planDebit } from './sub-accounts.ts';

/** Sub-accounts of an account into which many pay at once: each payment locks one of them. */
export const hotSubAccounts = 64;
const worldFloor = -1_000_000_000_000_000n;

export type AccountKind = 'person' | 'merchant' | 'world';

export interface Account {
  readonly accountId: string;
  readonly ownerId: string;
  readonly currency: Currency;
  readonly kind: AccountKind;
  readonly subAccounts: number;
}

export interface AccountRow {
  account_id: string;
  owner_id: string;
  currency: Currency;
  kind: AccountKind;
  sub_accounts: number;
}

export const accountOf = (row: AccountRow): Account => ({
  accountId: row.account_id,
  ownerId: row.owner_id,
  currency: row.currency,
  kind: row.kind,
  subAccounts: row.sub_accounts,
});

export interface NewAccount {
  readonly ownerId: string;
  readonly currency: Currency;
  readonly kind: AccountKind;
  /** Default: 1, or `hotSubAccounts` for merchants and the world. */
  readonly subAccounts?: number;
}

/** Opens the owner's account in a currency, or finds it. */
export async function openAccount(on: Queryable, nowMs: number, account: NewAccount): Promise<Account> {
  const known = await findAccount(on, account.ownerId, account.currency);
  if (known !== undefined) return known;
  const accountId = newId('acc', nowMs);
  const subAccounts = account.subAccounts ?? (account.kind === 'person' ? 1 : hotSubAccounts);
  const [made] = await run<{ account_id: string }>(
    on,
    `insert into ledger_account (account_id, owner_id, currency, kind, sub_accounts, created_ms)
     values ($1, $2, $3, $4, $5, $6) on conflict (owner_id, currency) do nothing returning account_id`,
    [accountId, account.ownerId, account.currency, account.kind, subAccounts, nowMs],
  );
  if (made !== undefined)
    await run(
      on,
      `insert into ledger_balance (account_id, sub, currency, floor_minor)
       select $1, sub, $2, $3 from generate_series(0, $4::int - 1) sub`,
      [accountId, account.currency, account.kind === 'world' ? worldFloor : 0n, subAccounts],
    );
  const opened = await findAccount(on, account.ownerId, account.currency);
  if (opened === undefined)
    throw new Error(`account of ${account.ownerId} in ${account.currency} was not opened`);
  return opened;
}

/** The owner's account in a currency. */
export async function findAccount(
  on: Queryable,
  ownerId: string,
  currency: Currency,
): Promise<Account | undefined> {
  const row = await first<AccountRow>(
    on,
    'select * from ledger_account where owner_id = $1 and currency = $2',
    [ownerId, currency],
  );
  return row && accountOf(row);
}

/** As {@link findAccount}; without one, `currency_mismatch`: there is no conversion. */
export async function accountIn(on: Queryable, ownerId: string, currency: Currency): Promise<Account> {
  const account = await findAccount(on, ownerId, currency);
  if (account === undefined)
    throw new PaymentsError(
      'currency_mismatch',
      `There is no account in ${currency}: currencies are not converted.`,
    );
  return account;
}

export interface Balance {
  readonly postedMinor: bigint;
  readonly heldMinor: bigint;
}

/** Over all sub-accounts. */
export async function balanceOf(on: Queryable, accountId: string): Promise<Balance> {
  const row = await first<{ posted: string; held: string }>(
    on,
    'select sum(posted_minor)::text posted, sum(held_minor)::text held from ledger_balance where account_id = $1',
    [accountId],
  );
  return { postedMinor: BigInt(row?.posted ?? 0), heldMinor: BigInt(row?.held ?? 0) };
}

export interface Transfer {
  readonly transactionId: string;
  readonly kind: string;
  /** What it was for: a payment's id. */
  readonly reference: string;
  readonly from: Account;
  readonly to: Account;
  readonly amountMinor: bigint;
  readonly atMs: number;
}

export interface Leg {
  readonly account: Account;
  readonly sub: number;
  readonly amountMinor: bigint;
}

/** Books one transfer. Errors: `insufficient_funds`, `balance_exceeded`, `currency_mismatch`; nothing is written then. */
export async function transfer(on: Queryable, order: Transfer): Promise<void> {
  await post(on, order, await legsOf(on, order));
}

/** What a transfer posts, with an account's sub-accounts chosen. Errors: `insufficient_funds`, `currency_mismatch`. */
export async function legsOf(on: Queryable, order: Transfer): Promise<readonly Leg[]> {
  const { from, to, amountMinor } = order;
  if (amountMinor <= 0n)
    throw new PaymentsError('amount_out_of_range', 'An amount is one minor unit or more.');
  if (from.currency !== to.currency)
    throw new PaymentsError(
      'currency_mismatch',
      'Both accounts must be in one currency: currencies are not converted.',
    );
  const debits = await debitLegs(on, from, amountMinor);
  const credit = { account: to, sub: subAccountFor(order.transactionId, to.subAccounts), amountMinor };
  return [...debits, credit];
}

/** Which sub-account takes a credit: spread by the transaction's id, so that a repetition takes the same. */
function subAccountFor(id: string, subAccounts: number): number {
  let hash = 0;
  for (let at = 0; at < id.length; at += 1) hash = (hash * 31 + id.charCodeAt(at)) >>> 0;
  return hash % subAccounts;
}

async function debitLegs(on: Queryable, from: Account, amountMinor: bigint): Promise<Leg[]> {
  if (from.subAccounts === 1) return [{ account: from, sub: 0, amountMinor: -amountMinor }];
  if (from.kind === 'world')
    return [{ account: from, sub: Math.floor(Math.random() * from.subAccounts), amountMinor: -amountMinor }];
  // Locked in order, so that two debits of one hot account do not wait for each other in a circle.
  const rows = await run<{ sub: number; available: bigint }>(
    on,
    `select sub, posted_minor - held_minor available from ledger_balance
     where account_id = $1 order by sub for update`,
    [from.accountId],
  );
  const plan = planDebit(
    rows.map((row) => ({ sub: row.sub, availableMinor: row.available })),
    amountMinor,
  );
  if (plan === undefined) throw insufficientFunds();
  return plan.map(({ sub, amountMinor: part }) => ({ account: from, sub, amountMinor: -part }));
}

const insufficientFunds = (cause?: unknown): PaymentsError =>
  new PaymentsError('insufficient_funds', 'The account does not hold that much.', { cause });

/** Accounts of one person first, hot ones last: their locks are the ones that others wait for. */
const lockOrder = (a: Leg, b: Leg): number =>
  a.account.subAccounts - b.account.subAccounts ||
  (a.account.accountId < b.account.accountId
    ? -1
    : a.account.accountId > b.account.accountId
      ? 1
      : a.sub - b.sub);

/** Books a transfer by its legs, in one statement that is sent before this returns. Errors as {@link transfer}. */
export async function post(
  on: Queryable,
  order: Omit<Transfer, 'from' | 'to' | 'amountMinor'>,
  legs: readonly Leg[],
): Promise<void> {
  const sorted = [...legs].sort(lockOrder);
  try {
    await run(on, 'select ledger_post($1, $2, $3, $4, $5, $6, $7, $8)', [
      order.transactionId,
      order.kind,
      order.reference,
      order.atMs,
      sorted.map((leg) => leg.account.accountId),
      sorted.map((leg) => leg.sub),
      sorted.map((leg) => leg.account.currency),
      sorted.map((leg) => leg.amountMinor),
    ]);
  } catch (error) {
    throw asLedgerError(error);
  }
}

/** A database error as the contract's, by the constraint that refused. Others pass unchanged. */
function asLedgerError(error: unknown): unknown {
  const constraint = constraintOf(error);
  if (constraint === noOverdraft) return insufficientFunds(error);
  if (constraint === balanceBounded)
    return new PaymentsError('balance_exceeded', 'The account would hold more than an account may.', {
      cause: error,
    });
  if (constraint === sameCurrency)
    return new PaymentsError('currency_mismatch', 'The account is in another currency.', { cause: error });
  return error;
}

/** Error: `state_conflict` for an account whose amounts cannot be held. */
export function checkHoldable(account: Account): void {
  if (account.subAccounts !== 1)
    throw new PaymentsError('state_conflict', 'Amounts of an account with sub-accounts cannot be held.');
}

/** Sets an amount aside: it cannot be spent until the hold ends. Error: `insufficient_funds`. */
export async function hold(
  on: Queryable,
  order: { holdId: string; account: Account; amountMinor: bigint; atMs: number },
): Promise<void> {
  const { account, amountMinor } = order;
  checkHoldable(account);
  try {
    await run(
      on,
      'insert into ledger_hold (hold_id, account_id, sub, amount_minor, at_ms) values ($1, $2, 0, $3, $4)',
      [order.holdId, account.accountId, amountMinor, order.atMs],
    );
  } catch (error) {
    throw asLedgerError(error);
  }
}

/** Ends a hold without money moving. False: it had ended before. */
export async function release(on: Queryable, holdId: string, atMs: number): Promise<boolean> {
  return endHold(on, holdId, 'released', atMs);
}

/** Ends a hold and books the transfer that it was for. Error: `state_conflict` where it had ended before. */
export async function capture(on: Queryable, holdId: string, order: Transfer): Promise<void> {
  if (!(await endHold(on, holdId, 'captured', order.atMs)))
    throw new PaymentsError('state_conflict', 'What was held has been captured or released already.');
  await transfer(on, order);
}

async function endHold(
  on: Queryable,
  holdId: string,
  outcome: 'captured' | 'released',
  atMs: number,
): Promise<boolean> {
  const rows = await run(
    on,
    `insert into ledger_hold_end (hold_id, outcome, at_ms) values ($1, $2, $3) on conflict do nothing returning hold_id`,
    [holdId, outcome, atMs],
  );
  return rows.length === 1;
}
