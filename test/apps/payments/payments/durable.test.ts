/**
 * PostgreSQL is killed (SIGKILL) right behind answers that moved no money. A decline under a key is a promise about money all the same:
 * these signed bytes never pay. So it waits for the disk like a booking. The control does not wait, and breaks the promise.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ensureDatabase } from '#base/postgres/create.ts';
import { type RunningPostgres, startPostgres } from '#node/embedded-postgres.ts';
import { type Running, start } from '#payments/start.ts';
import { newCluster } from '../../../support/cluster.ts';
import { crash } from '../support/kill.ts';
import { Phone, type Reply } from '../support/phone.ts';
import { near } from '../support/service.ts';

const kills = 3;
const paymentsEach = 6;
const patienceMs = 60_000;

interface World {
  readonly url: string;
  readonly running: Running;
  /** Kills the postmaster, and starts it again. What it had not written by then is gone. */
  kill(): Promise<void>;
}

async function inWorld(work: (world: World) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'durable-'));
  const dataDir = join(dir, 'd');
  await newCluster(dataDir);
  // Nobody else writes the log soon: what a COMMIT does not write is not written at the kill.
  const settings = { wal_writer_delay: '10s' };
  const begin = (): Promise<RunningPostgres> =>
    startPostgres({ dataDir, socketDir: join(dir, 's'), dieWithParent: true, settings });
  let postgres = await begin();
  let running: Running | undefined;
  try {
    const url = await ensureDatabase(postgres.url, 'payments');
    running = await start(
      {
        databaseUrl: url,
        mode: 'demo',
        port: 0,
        operatorToken: 'operator-token-of-tests',
        accountRequestsPerS: 1_000_000,
      },
      { housekeeping: false },
    );
    await work({
      url: running.url,
      running,
      kill: async () => {
        await crash(postgres.pid);
        postgres = await begin();
      },
    });
  } finally {
    await running?.close();
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

async function insist<Answer>(
  ask: () => Promise<Answer>,
  isGood: (answer: Answer) => boolean,
): Promise<Answer> {
  const until = performance.now() + patienceMs;
  for (;;) {
    const answer = await ask().catch(() => undefined);
    if (answer !== undefined && isGood(answer)) return answer;
    assert.ok(performance.now() < until, 'the store comes back');
    await delay(20);
  }
}

interface Given {
  readonly key: string;
  readonly body: object;
  readonly reply: Reply;
}

/** Payments and then declines up to the kill; then what was answered is asked for again, under rules by which all of it may pay. */
async function round(
  world: World,
  ana: Phone,
  establishmentId: string,
): Promise<readonly (readonly [Given, Reply])[]> {
  const given: Given[] = [];
  const pay = async (key: string): Promise<void> => {
    const payee = { kind: 'establishment', establishmentId };
    const body = await ana.message('payment', {
      payee,
      money: { amountMinor: '1', currency: 'EUR' },
      note: '',
    });
    const reply = await ana.send('pay', body, { key });
    assert.equal(reply.status, 200, JSON.stringify(reply.body));
    given.push({ key, body, reply });
  };
  for (const onFar of ['allow', 'decline'] as const) {
    await rule(ana, onFar);
    for (let at = 0; at < paymentsEach; at += 1) await pay(crypto.randomUUID());
  }
  await world.kill();
  await insist(
    () => rule(ana, 'allow'),
    () => true,
  );
  const again: (readonly [Given, Reply])[] = [];
  for (const each of given) {
    const reply = await insist(
      () => ana.send('pay', each.body, { key: each.key }),
      ({ status }) => status < 500,
    );
    again.push([each, reply]);
  }
  return again;
}

async function rule(ana: Phone, onFar: 'allow' | 'decline'): Promise<true> {
  await ana.signed('setRules', 'rules.set', { rules: { ...(await ana.call('rules')), onFar } });
  return true;
}

async function phoneOf(world: World): Promise<readonly [Phone, string]> {
  const [ana, cafe] = [await Phone.demo(world.url, '@ana'), await Phone.demo(world.url, '@cafe.luna')];
  await ana.report(near(5_000));
  return [ana, (await cafe.call('me')).establishmentId ?? ''];
}

const stateOf = ({ body }: Reply): unknown => (body as { state?: string }).state;

test('what was answered before a kill is the answer after it, and each booking has its decision', async () => {
  await inWorld(async (world) => {
    const [ana, establishmentId] = await phoneOf(world);
    for (let kill = 0; kill < kills; kill += 1) {
      const asked = await round(world, ana, establishmentId);
      const states = asked.map(([first]) => stateOf(first.reply));
      assert.deepEqual(
        [
          states.filter((state) => state === 'completed').length,
          states.filter((state) => state === 'declined').length,
        ],
        [paymentsEach, paymentsEach],
      );
      for (const [first, reply] of asked)
        assert.deepEqual([reply.body, reply.replayed], [first.reply.body, true], first.key);
    }
    const { rows } = await world.running.app.pool.query<{ answer: string | null; booked: bigint; n: bigint }>(
      `select d.answer, count(t.transaction_id) booked, count(*) n from payment p
       left join decision d using (decision_id) left join ledger_transaction t on t.reference = p.payment_id
       where p.kind = 'payment' group by d.answer order by d.answer`,
    );
    const all = BigInt(kills * paymentsEach);
    assert.deepEqual(rows, [
      { answer: 'allow', booked: all, n: all },
      { answer: 'decline', booked: 0n, n: all },
    ]);
  });
});

test('without the wait, bytes whose decline was answered pay after the kill: the test above can tell', async () => {
  await inWorld(async (world) => {
    const [ana, establishmentId] = await phoneOf(world);
    const { pool } = world.running.app;
    await pool.query('alter system set synchronous_commit = off');
    await pool.query('select pg_reload_conf()');
    await insist(
      () => pool.query<{ synchronous_commit: string }>('show synchronous_commit'),
      ({ rows }) => rows[0]?.synchronous_commit === 'off',
    );
    const broken: unknown[] = [];
    for (let kill = 0; kill < kills && broken.length === 0; kill += 1)
      for (const [first, reply] of await round(world, ana, establishmentId))
        if (stateOf(first.reply) === 'declined' && stateOf(reply) === 'completed') broken.push(first.key);
    assert.ok(broken.length > 0, 'a decline was lost');
  });
});
