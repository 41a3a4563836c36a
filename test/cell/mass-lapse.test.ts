/**
 * Every lease of a cell lapses at once, with launches queued: the store was away. Processors come back to their own work and take none of
 * each other's; what a dead one left is taken up oldest first; and recovery is bounded.
 */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { StoreProxy } from '../support/storeProxy.ts';
import { TestCell, type TestProcessor, until } from './support/harness.ts';
import { launchPatiently, lease, shortTimes, soak } from './support/store-faults.ts';

const launches = 500;
/** Requests at once: as many as routers would have in flight. */
const atOnce = 40;
const hostCount = 20;
const outageMs = soak ? 60_000 : 4_000;
const recoveryMsMax = 90_000;
let cell: TestCell;
let proxy: StoreProxy;
/** VMMs start when it is settled: until then all launches are under way, however slow the machine. */
let mayStart: PromiseWithResolvers<void>;
let stopWatching = (): void => undefined;

afterEach(async () => {
  mayStart.resolve();
  stopWatching();
  proxy.mode = 'pass';
  await cell.stop();
  await proxy.close();
});

const start = async (): Promise<readonly [TestProcessor, TestProcessor]> => {
  mayStart = Promise.withResolvers();
  cell = await TestCell.start();
  proxy = await StoreProxy.of(cell.url);
  const capacity = { vcpus: 64, memoryMib: 65_536, diskMib: 1_048_576 };
  for (let n = 0; n < hostCount; n++)
    cell.addHost({
      capacity,
      latencyMs: (method) => (method === 'vm.launch' ? 1 : 0),
      sleep: (ms) => (ms > 0 ? mayStart.promise : Promise.resolve()),
    });
  const store = { ...shortTimes, url: proxy.url(cell.url) };
  return [await cell.addProcessor({ ...lease, store }), await cell.addProcessor({ ...lease, store })];
};

const launchAll = async (processors: readonly TestProcessor[]): Promise<void> => {
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < launches) {
      const n = next++;
      const processor = processors[n % processors.length];
      assert.ok(processor !== undefined);
      await launchPatiently(cell, [processor], `lapse-${n}`);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, client));
};

/** From here on the store writes down each workflow that goes straight from one processor to another. */
const watchOwners = async (processor: TestProcessor): Promise<void> => {
  for (const statement of [
    'create table owner_change (workflow_id text, former text, next text)',
    `create function note_owner_change() returns trigger language plpgsql as $$
     begin insert into owner_change values (new.id, old.owner, new.owner); return new; end $$`,
    `create trigger owner_change after update on workflows for each row
     when (old.owner <> new.owner and old.state in ('running', 'undoing') and new.state in ('running', 'undoing'))
     execute function note_owner_change()`,
  ])
    await processor.cell.services.db.query(statement);
};

/** Asks the store directly: the proxy may be silent. */
const counted = async (processor: TestProcessor, condition: string): Promise<number> => {
  const [row] = await processor.cell.services.db
    .query<{ n: number }>(`select count(*)::int as n from ${condition}`)
    .catch(() => []);
  return row?.n ?? -1;
};

/** The largest number of workflows that ran or waited at once, until `stop`. */
const watchPeak = (processors: readonly TestProcessor[]): (() => number) => {
  let peak = 0;
  const look = setInterval(() => {
    peak = Math.max(peak, ...processors.map(({ cell: { engine } }) => engine.load));
  }, 10);
  stopWatching = () => clearInterval(look);
  return () => peak;
};

const recovered = async (processor: TestProcessor): Promise<void> => {
  await until(
    'all run',
    async () => (await counted(processor, `instances where state = 'running'`)) === launches,
    recoveryMsMax,
  );
  assert.deepEqual(cell.world.violations, []);
  for (const host of cell.hosts)
    for (const id of host.vms.keys()) assert.equal(cell.world.runningOn(id).length, 1);
};

/** What the dead one had begun is rolled back by the server in its own time: until then its rows are locked, and passed over. */
const transactionsEnd = async (): Promise<void> => {
  const direct = openDatabase<Record<never, never>>({ url: cell.url });
  try {
    await until('no transaction is open', async () => {
      const { rows } = await sql<{ n: number }>`select count(*)::int as n from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
          and backend_type = 'client backend' and xact_start is not null`.execute(direct);
      return rows[0]?.n === 0;
    });
  } finally {
    await direct.destroy();
  }
};

test(`both leases lapse, the store is away for ${outageMs} ms: each comes back to its own, nobody takes from the other`, async (t) => {
  const [one, two] = await start();
  await watchOwners(one);
  const peak = watchPeak([one, two]);
  await launchAll([one, two]);
  proxy.mode = 'silent';
  await delay(outageMs);
  proxy.mode = 'pass';
  mayStart.resolve();
  const began = performance.now();
  await recovered(two);
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  t.diagnostic(
    `${launches} launches, both leases lapsed: recovered ${seconds} s after the store; peak queue ${peak()}`,
  );
  // A processor that was away takes its own work up again under the next epoch: only another owner is a theft.
  assert.equal(await counted(two, 'owner_change'), 0, 'no workflow changed hands');
  assert.ok(peak() <= launches, 'no work was queued twice');
});

test('one processor dies while the store is away: the other takes its work up once it is steady, oldest first', async (t) => {
  const [one, two] = await start();
  const peak = watchPeak([two]);
  await launchAll([one]);
  const left = await counted(two, `workflows where state = 'running'`);
  assert.ok(left > 200, `${left} are left: more than one batch of a take-over`);
  const { db } = two.cell.services;
  const { owner } = two.cell;
  // Of a machine that stood still for longer than a lease: while one was at work, so not all that were older could be had.
  const early = await db.query<{ id: string }>('select id from workflows where owner = $1', [owner]);
  proxy.mode = 'silent';
  one.kill();
  await delay(outageMs);
  await transactionsEnd();
  proxy.mode = 'pass';
  const began = performance.now();
  const mid = await until('a part is taken over', async () => {
    const rows = await db
      .query<{ taken: number; wrong: number }>(
        `with taken as (select created_at from workflows where owner = $1 and id <> all($2))
         select (select count(*)::int from taken) as taken, (select count(*)::int from workflows
           where owner <> $1 and state = 'running' and created_at < (select max(created_at) from taken)) as wrong`,
        [owner, early.map(({ id }) => id)],
      )
      .catch(() => []);
    return rows[0] !== undefined && rows[0].taken > 0 ? rows[0] : undefined;
  });
  assert.equal(mid.wrong, 0, 'none that is older waits for another turn');
  mayStart.resolve();
  await recovered(two);
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  t.diagnostic(
    `${launches} launches, one processor dead: recovered ${seconds} s after the store; peak queue ${peak()}`,
  );
  assert.ok(peak() <= launches, 'no work was queued twice');
});
