/**
 * Proximity payments, measured in one run: `node bench/payments.ts [--quick]`; `--soak N [--progress FILE]` carries out N ledger
 * operations under retries instead (SIGTERM ends it early: what was done by then is checked and told).
 * Goals: a decision through HTTP p99 < 10 ms; nearby over 1,000,000 devices < 1 ms; entries/s on one hot account ≥ 300, with
 * sub-accounts ≥ 1,500, beside a plain-SQL ledger of the same run. Figures mean nothing across machines.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureDatabase } from '#base/postgres/create.ts';
import { table } from '#cli/output.ts';
import { startPostgres } from '#node/embedded-postgres.ts';
import { newId } from '#payments/base/ids.ts';
import { square } from '#payments/demo/demo.ts';
import { openAccount, transfer } from '#payments/ledger/ledger.ts';
import { moved } from '#payments/location/geodesic.ts';
import { NearbyIndex } from '#payments/location/nearby-index.ts';
import { seeded as random } from '#payments/simulation/random.ts';
import { start } from '#payments/start.ts';
import { migrate } from '#payments/store/migrate.ts';
import { openPool, type Pool } from '#payments/store/pool.ts';
import { schema } from '#payments/store/schema.ts';
import { transaction } from '#payments/store/transaction.ts';
import { Phone } from '../test/apps/payments/support/phone.ts';
import { ledgerSoak, soakSettings } from './support/ledgerSoak.ts';

const quick = process.argv.includes('--quick');
const soakAt = process.argv.indexOf('--soak');
const clients = 16;
const hotForMs = quick ? 2_000 : 8_000;

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;

function spread(times: readonly number[]): string {
  const sorted = [...times].sort((a, b) => a - b);
  return `p50 ${quantile(sorted, 0.5).toFixed(2)} ms, p99 ${quantile(sorted, 0.99).toFixed(2)} ms`;
}

/** Runs work on so many lanes for a time; answers how often a second. */
async function perSecond(
  lanes: number,
  forMs: number,
  work: (lane: number) => Promise<unknown>,
): Promise<number> {
  const begun = performance.now();
  let done = 0;
  await Promise.all(
    Array.from({ length: lanes }, async (_, lane) => {
      while (performance.now() - begun < forMs) {
        await work(lane);
        done += 1;
      }
    }),
  );
  return (done * 1_000) / (performance.now() - begun);
}

/** A ledger as plain SQL by hand: two balance updates and two postings, no rules kept by the database. */
async function plainLedger(pool: Pool): Promise<(lane: number) => Promise<unknown>> {
  await pool.query(
    'create table plain_balance (id int primary key, minor bigint not null check (minor >= 0))',
  );
  await pool.query(
    'create table plain_posting (id bigint generated always as identity primary key, account int not null, amount bigint not null)',
  );
  await pool.query('insert into plain_balance select n, 1000000000 from generate_series(0, 64) n');
  return (lane) =>
    transaction(pool, async (client) => {
      await client.query('update plain_balance set minor = minor - 1 where id = $1', [lane + 1]);
      await client.query('insert into plain_posting (account, amount) values ($1, -1), (0, 1)', [lane + 1]);
      await client.query('update plain_balance set minor = minor + 1 where id = 0');
    });
}

async function ourLedger(
  pool: Pool,
  owner: string,
  subAccounts: number,
): Promise<(lane: number) => Promise<unknown>> {
  const world = await openAccount(pool, 1, { ownerId: 'world', currency: 'EUR', kind: 'world' });
  const hot = await openAccount(pool, 1, { ownerId: owner, currency: 'EUR', kind: 'merchant', subAccounts });
  const payers = await Promise.all(
    Array.from({ length: clients }, (_, lane) =>
      openAccount(pool, 1, { ownerId: `${owner}-${lane}`, currency: 'EUR', kind: 'person' }),
    ),
  );
  const move = (from: typeof hot, to: typeof hot, amountMinor: bigint) => {
    const atMs = Date.now();
    return transaction(pool, (client) =>
      transfer(client, {
        transactionId: newId('ltx', atMs),
        kind: 'bench',
        reference: owner,
        from,
        to,
        amountMinor,
        atMs,
      }),
    );
  };
  for (const payer of payers) await move(world, payer, 1_000_000_000n);
  return async (lane) => {
    const payer = payers[lane];
    if (payer !== undefined) await move(payer, hot, 1n);
  };
}

/** By turns, so that what else the machine does falls on all three. */
async function hotAccount(pool: Pool): Promise<readonly (readonly string[])[]> {
  const kinds = [
    ['plain SQL, one hot row', await plainLedger(pool)],
    ['our ledger, one hot account', await ourLedger(pool, 'hot-1', 1)],
    ['our ledger, 64 sub-accounts', await ourLedger(pool, 'hot-64', 64)],
  ] as const;
  const rates = kinds.map(() => [] as number[]);
  for (let turn = 0; turn < 3; turn += 1)
    for (const [at, [, work]] of kinds.entries())
      rates[at]?.push(2 * (await perSecond(clients, hotForMs / 3, work)));
  return kinds.map(([name], at) => {
    const sorted = [...(rates[at] ?? [])].sort((a, b) => a - b);
    return [
      name,
      `${sorted[1]?.toFixed(0)} entries/s (${sorted[0]?.toFixed(0)} to ${sorted[2]?.toFixed(0)})`,
    ];
  });
}

function nearby(): readonly (readonly string[])[] {
  const devices = 1_000_000;
  const next = random(7);
  const index = new NearbyIndex();
  const before = process.memoryUsage().rss;
  const somewhere = () => moved(square, next() * 360, next() * 60_000);
  for (let at = 0; at < devices; at += 1)
    index.set(`d${at}`, {
      latitude: square.latitude + (next() - 0.5),
      longitude: square.longitude + (next() - 0.5),
    });
  const begun = performance.now();
  index.rebuild();
  const built = performance.now() - begun;
  for (let at = 0; at < 1_000; at += 1) index.set(`d${at}`, somewhere());
  // The first queries are run by the interpreter.
  for (let at = 0; at < 500; at += 1) index.within(somewhere(), 200, 50);
  const times: number[] = [];
  for (let at = 0; at < 2_000; at += 1) {
    const center = somewhere();
    const asked = performance.now();
    index.within(center, 200, 50);
    times.push(performance.now() - asked);
  }
  return [
    ['nearby, 1,000,000 devices, 1,000 moved since', spread(times)],
    [
      '  its tree',
      `${(built / 1_000).toFixed(1)} s to build, ${((process.memoryUsage().rss - before) / 2 ** 20).toFixed(0)} MiB`,
    ],
  ];
}

async function throughHttp(databaseUrl: string): Promise<readonly (readonly string[])[]> {
  const running = await start({
    databaseUrl,
    mode: 'demo',
    port: 0,
    origin: 'http://localhost:8480',
    operatorToken: 'bench-operator-token',
    accountRequestsPerS: 1_000_000,
  });
  try {
    const cafe = await Phone.demo(running.url, '@cafe.luna');
    const { establishmentId = '' } = await cafe.call('me');
    const people = await Promise.all(
      ['@ana', '@ben', '@cleo', '@dan'].map((handle) => Phone.demo(running.url, handle)),
    );
    for (const phone of people) {
      const rules = await phone.call('rules');
      await phone.signed('setRules', 'rules.set', { rules: { ...rules, perDayMaxMinor: '100000000' } });
      await phone.report(moved(square, 90, 10)).catch(() => undefined);
    }
    const timed = async (phone: Phone, amount: string): Promise<number> => {
      // Signing is the phone's work: it is done before the clock runs.
      const body = await phone.message('payment', {
        payee: { kind: 'establishment', establishmentId },
        money: { amountMinor: amount, currency: 'EUR' },
        note: '',
      });
      const begun = performance.now();
      const reply = await phone.send('pay', body);
      if (reply.status !== 200) throw new Error(JSON.stringify(reply.body));
      return performance.now() - begun;
    };
    const [ana] = people;
    if (ana === undefined) throw new Error('nobody is there');
    for (let at = 0; at < 50; at += 1) await timed(ana, '1');
    const count = quick ? 200 : 1_000;
    // What the machine asks for the same number of doors: a call that does nothing, and a transaction that writes one row.
    const [empty, write, paid, declined]: [number[], number[], number[], number[]] = [[], [], [], []];
    await running.app.pool.query('create table bench_write (n int)');
    const cpu = process.cpuUsage();
    for (let at = 0; at < count; at += 1) {
      if (at % 100 === 0) await ana.report(moved(square, 90, 10));
      paid.push(await timed(ana, '1'));
      declined.push(await timed(ana, '60000'));
      const [asked, wrote] = [
        performance.now(),
        () => running.app.pool.query('insert into bench_write values (1)'),
      ];
      await ana.send('about');
      empty.push(performance.now() - asked);
      const begun = performance.now();
      await wrote();
      write.push(performance.now() - begun);
    }
    const used = process.cpuUsage(cpu);
    const cpuMs = (used.user + used.system) / 1_000 / (2 * count);
    const rate = await perSecond(people.length * 2, quick ? 3_000 : 10_000, (lane) =>
      timed(people[lane % people.length] ?? ana, '1'),
    );
    return [
      ['an HTTP call that does nothing', spread(empty)],
      ['one row written and committed', spread(write)],
      ['decision and booking through HTTP, one at a time', spread(paid)],
      ['decision that declines, through HTTP', spread(declined)],
      ['processor time of a decision, phone and service together', `${cpuMs.toFixed(2)} ms`],
      ['payments end to end, 4 people, 8 at once', `${rate.toFixed(0)} /s`],
      ['memory of service and phones together', `${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB`],
    ];
  } finally {
    await running.close();
  }
}

const dir = await mkdtemp(join(tmpdir(), 'pay-bench-'));
const server = await startPostgres({
  dataDir: join(dir, 'd'),
  socketDir: join(dir, 's'),
  dieWithParent: true,
  ...(soakAt >= 0 && { settings: soakSettings }),
});
try {
  if (soakAt >= 0) {
    const operations = Number(process.argv[soakAt + 1] ?? 1_000_000);
    const progressAt = process.argv.indexOf('--progress');
    await ledgerSoak(
      await ensureDatabase(server.url, 'soak'),
      operations,
      progressAt >= 0 ? process.argv[progressAt + 1] : undefined,
    );
  } else {
    const rows: (readonly string[])[] = [];
    rows.push(...(await throughHttp(await ensureDatabase(server.url, 'payments'))));
    const pool = openPool({ url: await ensureDatabase(server.url, 'ledger'), poolMax: clients });
    await migrate(pool, schema);
    rows.push(...(await hotAccount(pool)));
    await pool.end();
    rows.push(...nearby());
    console.log(table(rows));
  }
} finally {
  await server.stop();
  await rm(dir, { recursive: true, force: true });
}
