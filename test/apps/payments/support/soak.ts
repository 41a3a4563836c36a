/**
 * Ledger operations under idempotency keys with concurrent retries and wrong bodies, and the check of what must hold afterwards. The
 * suite runs a bounded number, `bench/payments.ts --soak N` any.
 */
import { newId } from '#payments/base/ids.ts';
import { type OnceResult, once } from '#payments/ledger/idempotency.ts';
import { type Account, openAccount, transfer } from '#payments/ledger/ledger.ts';
import { seeded as random } from '#payments/simulation/random.ts';
import type { Pool } from '#payments/store/pool.ts';
import { transaction } from '#payments/store/transaction.ts';
import { type Books, booksOf } from './soak-books.ts';

export const startMinor = 10_000n;
const currencies = ['EUR', 'USD'] as const;
/** Of how many past keys the answers are kept, to be asked for again later. */
const rememberedMax = 1_000;
const lateShare = 0.02;
/** Of the payments: how many go to an account that is as likely in another currency, and are refused then. */
const otherCurrencyShare = 0.1;
const attemptsMax = 100;
const passing = ['busy', 'idempotency_in_progress'];
const unexpected = 'unexpected';
const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? `${error.code}` : '');

export interface SoakOptions {
  /** One pool for each process of the service that the retries of a key are spread over. */
  readonly processes: readonly [Pool, ...Pool[]];
  readonly operations: number;
  readonly accounts: number;
  readonly concurrency: number;
  /** Calls of each key, all at once. */
  readonly retries: number;
  /** Of the keys: how many are used with another body too, at the same moment. */
  readonly wrongBodyShare: number;
  readonly seed: number;
  /** Ends it early: no operation is begun any more, and what was done is checked. */
  readonly signal?: AbortSignal;
  onProgress?(counts: SoakCounts): void;
}

export interface SoakCounts {
  /** Keys. */
  operations: number;
  /** Calls of all keys together, with late ones and wrong bodies. */
  calls: number;
  /** Keys whose retries reached several processes, and every process, at once. The others' reached one. */
  raced: number;
  racedByAll: number;
  booked: number;
  refused: number;
  wrongBodies: number;
  /** Asked again after other operations came in between. */
  lateReplays: number;
  /** Calls that got another answer than the first of their key. 0. */
  differentAnswers: number;
  /** Wrong bodies that were carried out although the right one had been, or the other way round. 0. */
  wrongBodiesTaken: number;
  /** Calls that were told to come again (`busy`, `idempotency_in_progress`), and did, as a phone's outbox does. */
  toldToComeAgain: number;
  /** The first error that is neither an answer nor the refusal of a wrong body. undefined. */
  unexpected: string | undefined;
}

export interface SoakResult extends SoakCounts, Books {
  readonly seconds: number;
}

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const [store] = options.processes;
  const accounts = await openAll(store, options.accounts);
  const world = new Soak(options, accounts);
  const started = performance.now();
  await Promise.all(Array.from({ length: options.concurrency }, () => world.work()));
  const seconds = (performance.now() - started) / 1000;
  return { ...world.counts, ...(await booksOf(store, world.expected, world.counts.booked)), seconds };
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

/** Half of the keys are raced for: by two, four or eight processes. */
const widthOf = (share: number): number => (share < 0.5 ? 1 : share < 0.75 ? 2 : share < 0.875 ? 4 : 8);

interface Order {
  readonly key: string;
  readonly body: string;
  readonly from: Account;
  readonly to: Account;
  readonly amountMinor: bigint;
}

interface Answered {
  readonly order: Order;
  readonly outcome: string;
}

class Soak {
  readonly counts: SoakCounts = {
    operations: 0,
    calls: 0,
    raced: 0,
    racedByAll: 0,
    booked: 0,
    refused: 0,
    wrongBodies: 0,
    lateReplays: 0,
    differentAnswers: 0,
    wrongBodiesTaken: 0,
    toldToComeAgain: 0,
    unexpected: undefined,
  };
  /** Account → its balance by the answers that were given. */
  readonly expected = new Map<string, bigint>();
  readonly #options: SoakOptions;
  readonly #accounts: readonly Account[];
  readonly #next: () => number;
  readonly #remembered: Answered[] = [];
  #begun = 0;

  constructor(options: SoakOptions, accounts: readonly Account[]) {
    this.#options = options;
    this.#accounts = accounts;
    this.#next = random(options.seed);
    for (const account of accounts) this.expected.set(account.accountId, startMinor);
  }

  async work(): Promise<void> {
    const { operations, signal, wrongBodyShare, onProgress } = this.#options;
    while (this.#begun < operations && signal?.aborted !== true) {
      this.#begun += 1;
      const order = this.#order(this.#begun);
      const isWrong = this.#next() < wrongBodyShare;
      await this.#operation(order, isWrong);
      this.counts.operations += 1;
      if (this.#next() < lateShare) await this.#askAgain();
      if (this.counts.operations % 1_000 === 0) onProgress?.(this.counts);
    }
  }

  #order(number: number): Order {
    const from = this.#account();
    const to = this.#account(this.#next() < otherCurrencyShare ? undefined : from.currency);
    const amountMinor = BigInt(1 + Math.floor(this.#next() * 400));
    const body = `${from.accountId}>${to.accountId}:${amountMinor}`;
    return { key: `soak-${this.#options.seed}-${number}`, body, from, to, amountMinor };
  }

  #account(currency?: string): Account {
    for (;;) {
      const account = this.#accounts[Math.floor(this.#next() * this.#accounts.length)];
      if (account === undefined) throw new Error('there are no accounts');
      if (currency === undefined || account.currency === currency) return account;
    }
  }

  /** The answer as text; undefined: refused because the key was used with another body. */
  async #call(pool: Pool, order: Order, body: string): Promise<string | undefined> {
    for (let attempt = 1; ; attempt += 1) {
      this.counts.calls += 1;
      try {
        return JSON.stringify((await this.#once(pool, order, body)).outcome);
      } catch (error) {
        const code = codeOf(error);
        if (code === 'idempotency_key_reused') return undefined;
        if (!passing.includes(code) || attempt === attemptsMax) {
          this.counts.unexpected ??= String(error);
          return unexpected;
        }
        this.counts.toldToComeAgain += 1;
      }
    }
  }

  #once(pool: Pool, { key, from, to, amountMinor }: Order, request: string): Promise<OnceResult<object>> {
    const atMs = Date.now();
    return once(pool, { personId: 'soak', key, request, nowMs: atMs }, async (client) => {
      const transactionId = newId('ltx', atMs);
      await transfer(client, {
        transactionId,
        kind: 'payment',
        reference: key,
        from,
        to,
        amountMinor,
        atMs,
      });
      return { transactionId };
    });
  }

  /** All retries at once, over some of the processes from a random one on, and perhaps a wrong body among them. */
  async #operation(order: Order, isWrong: boolean): Promise<void> {
    const { processes, retries } = this.#options;
    const width = Math.min(processes.length, widthOf(this.#next()));
    if (width > 1) this.counts.raced += 1;
    if (width === processes.length) this.counts.racedByAll += 1;
    const offset = Math.floor(this.#next() * processes.length);
    const poolOf = (at: number): Pool =>
      processes[(offset + (at % width)) % processes.length] ?? processes[0];
    const wrongAt = isWrong ? Math.floor(this.#next() * retries) : -1;
    const wrongBody = `${order.body} and more`;
    let wrong: Promise<string | undefined> | undefined;
    const calls = Array.from({ length: retries }, (_, at) => {
      if (at === wrongAt) wrong = this.#call(poolOf(at + 1), order, wrongBody);
      return this.#call(poolOf(at), order, order.body);
    });
    const outcomes = await Promise.all(calls);
    const taken = await wrong;
    if (isWrong) this.counts.wrongBodies += 1;
    const [first] = outcomes;
    // Either the right body or the wrong one came first; whoever came second was refused, at each of its calls.
    if (outcomes.some((outcome) => outcome !== first)) this.counts.differentAnswers += 1;
    if (isWrong && (taken === undefined) === (first === undefined)) this.counts.wrongBodiesTaken += 1;
    const answer = first ?? taken;
    if (answer === undefined || answer === unexpected) this.counts.differentAnswers += 1;
    else this.#note({ order: first === undefined ? { ...order, body: wrongBody } : order, outcome: answer });
  }

  #note(answered: Answered): void {
    const { order, outcome } = answered;
    if ('error' in (JSON.parse(outcome) as object)) this.counts.refused += 1;
    else {
      this.counts.booked += 1;
      this.#add(order.from, -order.amountMinor);
      this.#add(order.to, order.amountMinor);
    }
    const at = Math.floor(this.#next() * rememberedMax);
    if (this.#remembered.length < rememberedMax) this.#remembered.push(answered);
    else this.#remembered[at] = answered;
  }

  #add(account: Account, minor: bigint): void {
    this.expected.set(account.accountId, (this.expected.get(account.accountId) ?? 0n) + minor);
  }

  /** A retry that comes after everything: the first answer, and with another body a refusal. */
  async #askAgain(): Promise<void> {
    const answered = this.#remembered[Math.floor(this.#next() * this.#remembered.length)];
    if (answered === undefined) return;
    const { order, outcome } = answered;
    const [pool] = this.#options.processes;
    this.counts.lateReplays += 1;
    if ((await this.#call(pool, order, order.body)) !== outcome) this.counts.differentAnswers += 1;
    if ((await this.#call(pool, order, `${order.body}!`)) !== undefined) this.counts.wrongBodiesTaken += 1;
  }
}
