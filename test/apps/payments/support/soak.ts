/**
 * Ledger operations under idempotency keys with concurrent retries and wrong bodies, and the check of what must hold afterwards. The
 * suite runs a bounded number, `bench/payments.ts --soak N` any.
 */
import { newId } from '#payments/base/ids.ts';
import { once } from '#payments/ledger/idempotency.ts';
import { type Account, balanceOf, openAccount, transfer } from '#payments/ledger/ledger.ts';
import { healthOf } from '#payments/ledger/proof.ts';
import { seeded as random } from '#payments/simulation/random.ts';
import type { Pool } from '#payments/store/pool.ts';
import { transaction } from '#payments/store/transaction.ts';

const startMinor = 10_000n;
const currencies = ['EUR', 'USD'] as const;

export interface SoakOptions {
  readonly operations: number;
  readonly accounts: number;
  readonly concurrency: number;
  /** Calls of each key, all at once. */
  readonly retries: number;
  /** Of the keys: how many are used again with another body. */
  readonly wrongBodyShare: number;
  readonly seed: number;
  onProgress?(done: number): void;
}

export interface SoakResult {
  readonly operations: number;
  readonly booked: number;
  readonly refused: number;
  /** Calls that got another answer than the first of their key. 0. */
  readonly differentAnswers: number;
  /** Wrong bodies that were not refused. 0. */
  readonly wrongBodiesTaken: number;
  /** Differences between what was answered and what the balances say. 0n. */
  readonly lostOrDoubledMinor: bigint;
  readonly sumMinor: bigint;
  readonly drifted: number;
  readonly seconds: number;
}

export async function soak(pool: Pool, options: SoakOptions): Promise<SoakResult> {
  const accounts = await openAll(pool, options.accounts);
  const expected = new Map(accounts.map((account) => [account.accountId, startMinor]));
  const next = random(options.seed);
  const counts = { booked: 0, refused: 0, differentAnswers: 0, wrongBodiesTaken: 0 };
  const pick = (): Account => accounts[Math.floor(next() * accounts.length)] as Account;
  let begun = 0;
  const started = performance.now();
  const worker = async (): Promise<void> => {
    while (begun < options.operations) {
      const number = begun;
      begun += 1;
      const order = { from: pick(), to: pick(), amountMinor: BigInt(1 + Math.floor(next() * 400)) };
      const isWrong = next() < options.wrongBodyShare;
      await operation(pool, options, `soak-${options.seed}-${number}`, order, isWrong, expected, counts);
      if (number % 10_000 === 9_999) options.onProgress?.(number + 1);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, worker));
  const seconds = (performance.now() - started) / 1000;
  const health = await healthOf(pool);
  let difference = 0n;
  for (const account of accounts) {
    const gap =
      (await balanceOf(pool, account.accountId)).postedMinor - (expected.get(account.accountId) ?? 0n);
    difference += gap < 0n ? -gap : gap;
  }
  return {
    operations: options.operations,
    ...counts,
    lostOrDoubledMinor: difference,
    sumMinor: health.sums.reduce(
      (sum, each) => sum + (each.sumMinor < 0n ? -each.sumMinor : each.sumMinor),
      0n,
    ),
    drifted: health.drifted.length + health.unbalanced.length,
    seconds,
  };
}

async function openAll(pool: Pool, count: number): Promise<Account[]> {
  const accounts: Account[] = [];
  for (const currency of currencies) {
    const world = await openAccount(pool, 1, { ownerId: 'world', currency, kind: 'world' });
    for (let at = 0; at < count / currencies.length; at += 1) {
      const account = await openAccount(pool, 1, { ownerId: `soak-${at}`, currency, kind: 'person' });
      await transaction(pool, (client) =>
        transfer(client, {
          transactionId: newId('ltx', Date.now()),
          kind: 'top_up',
          reference: 'soak',
          from: world,
          to: account,
          amountMinor: startMinor,
          atMs: Date.now(),
        }),
      );
      accounts.push(account);
    }
  }
  return accounts;
}

interface Order {
  readonly from: Account;
  readonly to: Account;
  readonly amountMinor: bigint;
}

async function operation(
  pool: Pool,
  options: SoakOptions,
  key: string,
  order: Order,
  isWrong: boolean,
  expected: Map<string, bigint>,
  counts: { booked: number; refused: number; differentAnswers: number; wrongBodiesTaken: number },
): Promise<void> {
  const nowMs = Date.now();
  const body = `${order.from.accountId}>${order.to.accountId}:${order.amountMinor}`;
  const call = (request: string) =>
    once(pool, { personId: 'soak', key, request, nowMs }, async (client) => {
      const transactionId = newId('ltx', nowMs);
      await transfer(client, { transactionId, kind: 'payment', reference: key, ...order, atMs: nowMs });
      return { transactionId };
    });
  const calls = Array.from({ length: options.retries }, () => call(body));
  const wrong = isWrong ? call(`${body} and more`) : undefined;
  const wrongOutcome = wrong?.then(
    (result) => result.outcome,
    () => undefined,
  );
  const outcomes = (await Promise.allSettled(calls)).flatMap((each) =>
    each.status === 'fulfilled' ? [each.value.outcome] : [],
  );
  const taken = await wrongOutcome;
  // Either the right body or the wrong one came first; whoever came second was refused.
  if (taken !== undefined && outcomes.length > 0) counts.wrongBodiesTaken += 1;
  const first = outcomes[0] ?? taken;
  if (outcomes.some((outcome) => JSON.stringify(outcome) !== JSON.stringify(first)))
    counts.differentAnswers += 1;
  if (outcomes.length !== 0 && outcomes.length !== options.retries) counts.differentAnswers += 1;
  if (first === undefined) counts.differentAnswers += 1;
  else if ('error' in first) counts.refused += 1;
  else {
    counts.booked += 1;
    expected.set(order.from.accountId, (expected.get(order.from.accountId) ?? 0n) - order.amountMinor);
    expected.set(order.to.accountId, (expected.get(order.to.accountId) ?? 0n) + order.amountMinor);
  }
}
