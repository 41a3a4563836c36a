/**
 * The service and PostgreSQL are killed (SIGKILL) again and again while phones pay with an outbox that sends the same bytes under the same
 * key until there is an answer: every payment is booked once, every answer is the first, and the books balance (S9.5).
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ensureDatabase } from '#base/postgres/create.ts';
import { type RunningPostgres, startPostgres } from '#node/embedded-postgres.ts';
import { healthOf } from '#payments/ledger/proof.ts';
import { openPool } from '#payments/store/pool.ts';
import { freePort } from '../../../support/freePort.ts';
import { crash } from '../support/kill.ts';
import { Phone, type Reply } from '../support/phone.ts';
import { near } from '../support/service.ts';

const main = join(import.meta.dirname, '../../../../apps/payments/src/main.ts');
const payments = Number(process.env.PANDO_CRASH_PAYMENTS ?? 75);
const senders = 4;
const amount = 10n;
const patienceMs = 120_000;

const gone = (child: ChildProcess): Promise<unknown> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once('exit', resolve));

class World {
  readonly #dir: string;
  readonly port: number;
  #postgres: RunningPostgres | undefined;
  #service: ChildProcess | undefined;
  databaseUrl = '';

  constructor(dir: string, port: number) {
    this.#dir = dir;
    this.port = port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async startPostgres(): Promise<void> {
    this.#postgres = await startPostgres({
      dataDir: join(this.#dir, 'd'),
      socketDir: join(this.#dir, 's'),
      dieWithParent: true,
    });
    // Of a server that has come back the database is there.
    if (this.databaseUrl === '') this.databaseUrl = await ensureDatabase(this.#postgres.url, 'payments');
  }

  #spawnService(): ChildProcess {
    return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main], {
      stdio: ['ignore', 'ignore', 'ignore'],
      env: {
        ...process.env,
        PAYMENTS_DATABASE_URL: this.databaseUrl,
        PAYMENTS_MODE: 'demo',
        PAYMENTS_PORT: `${this.port}`,
        PAYMENTS_OPERATOR_TOKEN: 'operator-token-of-tests',
      },
    });
  }

  /** As a supervisor does: one that ends at its start (its port is taken for the moment) is started again. */
  async startService(): Promise<void> {
    const until = performance.now() + patienceMs;
    this.#service = this.#spawnService();
    while (
      !(await fetch(`${this.url}/v1/about`).then(
        (response) => response.ok,
        () => false,
      ))
    ) {
      assert.ok(performance.now() < until, 'the service starts');
      if (this.#service.exitCode !== null) this.#service = this.#spawnService();
      await delay(20);
    }
  }

  async killService(): Promise<void> {
    assert.ok(this.#service);
    this.#service.kill('SIGKILL');
    await gone(this.#service);
    await this.startService();
  }

  /** The postmaster and, since it cannot tell them any more, its backends (the next start ends what is left of them). */
  async killPostgres(): Promise<void> {
    assert.ok(this.#postgres);
    await crash(this.#postgres.pid);
    await this.startPostgres();
  }

  async end(): Promise<void> {
    this.#service?.kill('SIGKILL');
    if (this.#service !== undefined) await gone(this.#service);
    await this.#postgres?.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** What a phone's outbox does: the same bytes under the same key until there is an answer. */
async function insist(phone: Phone, body: object, key: string): Promise<Reply> {
  const until = performance.now() + patienceMs;
  for (;;) {
    const reply = await phone.send('pay', body, { key }).catch(() => undefined);
    if (reply !== undefined && reply.status < 500 && reply.status !== 429 && reply.status !== 409)
      return reply;
    assert.ok(performance.now() < until, 'an answer comes in the end');
    await delay(50);
  }
}

test('kill -9 of the service and of PostgreSQL in mid-payment', { timeout: 300_000 }, async () => {
  const world = new World(await mkdtemp(join(tmpdir(), 'crash-')), await freePort());
  try {
    await world.startPostgres();
    await world.startService();
    const [ana, ben] = [await Phone.demo(world.url, '@ana'), await Phone.demo(world.url, '@ben')];
    const rules = await ana.call('rules');
    await ana.signed('setRules', 'rules.set', { rules: { ...rules, mode: 'off' } });
    await ben.report(near(1));
    const start = [await ana.balance(), await ben.balance()] as const;

    const firsts = new Map<string, { body: object; reply: Reply }>();
    let begun = 0;
    const sender = async (): Promise<void> => {
      while (begun < payments) {
        const key = `crash-${begun}`;
        begun += 1;
        const body = await ana.message('payment', {
          payee: { kind: 'contact', personId: ben.personId },
          money: { amountMinor: `${amount}`, currency: 'EUR' },
          note: key,
        });
        firsts.set(key, { body, reply: await insist(ana, body, key) });
      }
    };
    let isDone = false;
    const sending = Promise.all(Array.from({ length: senders }, sender)).finally(() => {
      isDone = true;
    });
    let kills = 0;
    while (!isDone) {
      const target = firsts.size + 12;
      while (!isDone && firsts.size < target) await delay(2);
      if (isDone) break;
      await (kills % 2 === 0 ? world.killService() : world.killPostgres());
      kills += 1;
    }
    await sending;
    assert.ok(kills >= 3, `${kills} kills`);

    for (const { body, reply } of firsts.values())
      assert.equal((reply.body as { state?: string }).state, 'completed', JSON.stringify([body, reply.body]));
    const ids = new Set(
      [...firsts.values()].map(({ reply }) => (reply.body as { paymentId: string }).paymentId),
    );
    assert.equal(ids.size, payments);
    assert.deepEqual(
      [await ana.balance(), await ben.balance()],
      [start[0] - amount * BigInt(payments), start[1] + amount * BigInt(payments)],
    );
    for (const [key, { body, reply }] of [...firsts].slice(0, 20)) {
      const again = await insist(ana, body, key);
      assert.deepEqual([again.body, again.replayed], [reply.body, true]);
    }
    const pool = openPool({ url: world.databaseUrl });
    const health = await healthOf(pool).finally(() => pool.end());
    assert.deepEqual(
      [health.sums.map((sum) => sum.sumMinor), health.unbalanced, health.drifted],
      [[0n], [], []],
    );
  } finally {
    await world.end();
  }
});
