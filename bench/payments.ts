/**
 * Proximity payments, measured in one run: `node bench/payments.ts [--quick] [--decisions]` (the latter: decisions and
 * payments through HTTP alone); `--soak N [--progress FILE]` carries out N ledger
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
import { migrate } from '#payments/store/migrate.ts';
import { openPool, type Pool } from '#payments/store/pool.ts';
import { schema } from '#payments/store/schema.ts';
import { transaction } from '#payments/store/transaction.ts';
import { latencies, perSecond } from './support/latencies.ts';
import { ledgerSoak, soakSettings } from './support/ledgerSoak.ts';
import { paymentDecisions } from './support/paymentDecisions.ts';
import { useScratch } from './support/scratch.ts';

const quick = process.argv.includes('--quick');
const onlyDecisions = process.argv.includes('--decisions');
const soakAt = process.argv.indexOf('--soak');
const clients = 16;
const hotForMs = quick ? 2_000 : 8_000;

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
  const begun = performance.now();
  for (let at = 0; at < devices; at += 1)
    index.set(`d${at}`, {
      latitude: square.latitude + (next() - 0.5),
      longitude: square.longitude + (next() - 0.5),
    });
  const built = performance.now() - begun;
  // The first queries are run by the interpreter.
  for (let at = 0; at < 500; at += 1) index.within(somewhere(), 200, 50);
  const times: number[] = [];
  for (let at = 0; at < 2_000; at += 1) {
    const center = somewhere();
    index.set(`d${at}`, somewhere());
    const asked = performance.now();
    index.within(center, 200, 50);
    times.push(performance.now() - asked);
  }
  return [
    ['nearby, 1,000,000 devices, one moved before each question', latencies(times)],
    [
      '  its index',
      `${(built / 1_000).toFixed(1)} s to build, ${((process.memoryUsage().rss - before) / 2 ** 20).toFixed(0)} MiB`,
    ],
  ];
}

useScratch();
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
    rows.push(...(await paymentDecisions(await ensureDatabase(server.url, 'payments'), server.pid, quick)));
    if (!onlyDecisions) {
      const pool = openPool({ url: await ensureDatabase(server.url, 'ledger'), poolMax: clients });
      await migrate(pool, schema);
      rows.push(...(await hotAccount(pool)));
      await pool.end();
      rows.push(...nearby());
    }
    console.log(table(rows));
  }
} finally {
  await server.stop();
  await rm(dir, { recursive: true, force: true });
}
