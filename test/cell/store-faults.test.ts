/**
 * A cell whose store misbehaves: silence, a COMMIT whose answer is lost, a server that takes no writes, a full disk, a last second of
 * commits that is gone. Clients hear Unavailable, no VM is touched, and the cell is back soon after the store is.
 * `PANDO_SOAK=1`: the full length of an outage, with a process's own time-outs.
 */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { pino } from 'pino';
import { openDatabase } from '#base/postgres/database.ts';
import { fullAlarm } from '#base/postgres/fullAlarm.ts';
import { HostReconciler } from '#cell/hosts/reconcile.ts';
import type { PandoError } from '#contracts/errors.ts';
import { startPostgres } from '#node/embedded-postgres.ts';
import { StoreProxy } from '../support/storeProxy.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';
import {
  assertUnavailable,
  backWithinMs,
  launch,
  launchPatiently,
  lease,
  shortTimes,
  soak,
  untilRunning,
  untouched,
} from './support/store-faults.ts';

const outageMs = soak ? 60_000 : 5_000;
let cell: TestCell;
let proxy: StoreProxy;
let one: TestProcessor;
let two: TestProcessor;
let launched = 0;
/** SQLSTATE of each alarm that the store is full. */
const alarms: string[] = [];
const sqlStateIn = (line: string): string => {
  const { alarm, sqlState }: { alarm: string; sqlState: string } = JSON.parse(line);
  assert.equal(alarm, 'store-full');
  return sqlState;
};
const token = (): string => `store-fault-${launched++}`;

before(async () => {
  cell = await TestCell.start();
  proxy = await StoreProxy.of(cell.url);
  for (let n = 0; n < 3; n++) cell.addHost({ latencyMs: () => 20 });
  const onFull = fullAlarm(pino({ base: null }, { write: (line: string) => alarms.push(sqlStateIn(line)) }));
  const store = { ...shortTimes, url: proxy.url(cell.url), onFull };
  one = await cell.addProcessor({ ...lease, store });
  two = await cell.addProcessor({ ...lease, store });
  const ids = await Promise.all(Array.from({ length: 6 }, () => launch(cell, one, token())));
  await untilRunning(cell, one, ids);
});

afterEach(() => {
  Object.assign(proxy, { mode: 'pass', error: undefined, commitAnswersToLose: 0 });
});

after(async () => {
  await cell.stop();
  await proxy.close();
});

/** Launches go on, clients ask again with their tokens, while `trouble` is on; then everything runs, once. */
const launchesThrough = async (trouble: () => Promise<void>): Promise<readonly PandoError[]> => {
  const refused: PandoError[] = [];
  await untouched(cell, async () => {
    const before = await Promise.all(Array.from({ length: 8 }, () => launch(cell, one, token())));
    const outage = trouble();
    await delay(200);
    const during = Array.from({ length: 8 }, () => launchPatiently(cell, [one, two], token(), refused));
    await outage;
    const began = performance.now();
    const ids = [...before, ...(await Promise.all(during))];
    assert.equal(new Set(ids).size, 16);
    await untilRunning(cell, two, ids);
    await launchPatiently(cell, [two, one], token());
    assert.ok(performance.now() - began < backWithinMs, 'the cell is back');
  });
  const rows = await settledRows();
  const vms = cell.hosts.reduce((sum, host) => sum + host.vms.size, 0);
  assert.equal(vms, rows, 'as many VMs as rows: nothing was launched twice, nothing was forgotten');
  return refused;
};

/** The number of instances, once each of them runs: a workflow whose COMMIT was not answered is found again after a while. */
const settledRows = (): Promise<number> =>
  until(
    'every row runs',
    async () => {
      const [row] = await one.cell.services.db.query<{ all: number; running: number }>(
        `select count(*)::int as all, count(*) filter (where state = 'running')::int as running from instances`,
      );
      return row !== undefined && row.all === row.running ? row.all : undefined;
    },
    backWithinMs,
  );

test(`a store that is silent for ${outageMs} ms`, async () => {
  const refused = await launchesThrough(async () => {
    proxy.mode = 'silent';
    await delay(outageMs / 2);
    await assert.rejects(
      ec2(one.cell, 'DescribeInstances'),
      (error) => assertUnavailable(error) !== undefined,
    );
    assert.equal(one.cell.ready(), false, 'it does not call itself ready');
    await delay(outageMs / 2);
    proxy.mode = 'pass';
  });
  assert.ok(refused.length > 0, 'clients were told');
  await until('ready again', () => one.cell.ready() && two.cell.ready());
});

test('a store that refuses connections, and cuts those that it had', async () => {
  await launchesThrough(async () => {
    proxy.mode = 'refuse';
    proxy.cut();
    await delay(2_000);
    proxy.mode = 'pass';
  });
});

test('the answers of COMMITs are lost: of launches, and of workflows on their way', async () => {
  await untouched(cell, async () => {
    proxy.commitAnswersToLose = 1;
    const own = token();
    const id = await launchPatiently(cell, [one], own);
    assert.equal(proxy.commitAnswersToLose, 0);
    assert.equal(await launchPatiently(cell, [two], own), id, 'the token still means this instance');
    await untilRunning(cell, two, [id]);
  });
  await launchesThrough(async () => {
    for (let n = 0; n < 20; n++) {
      proxy.commitAnswersToLose++;
      await delay(50);
    }
  });
});

test('a server that takes no writes any more, until it does', async () => {
  const alter = async (statement: string): Promise<void> => {
    const db = openDatabase<Record<never, never>>({ url: `${cell.url}&target_session_attrs=any` });
    try {
      await sql.raw(statement).execute(db);
      await sql`select pg_reload_conf()`.execute(db);
    } finally {
      await db.destroy();
    }
  };
  await launchesThrough(async () => {
    await alter('alter system set default_transaction_read_only = on');
    try {
      await delay(2_500);
    } finally {
      await alter('alter system reset default_transaction_read_only');
    }
  });
});

test('a disk that is full (53100), until it is not', async () => {
  const before = alarms.length;
  const refused = await launchesThrough(async () => {
    proxy.error = { sqlState: '53100', statements: /\b(insert into|update) / };
    await delay(2_500);
    proxy.error = undefined;
  });
  assert.ok(refused.length > 0, 'clients were told');
  assert.deepEqual(alarms.slice(before), ['53100'], 'and an operator, once');
});

test('the last commits are gone: VMs without a row live on', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'pando-old-'));
  const [dataDir, socketDir, copy] = [join(dir, 'data'), join(dir, 's'), join(dir, 'copy')];
  const start = () =>
    startPostgres({ dataDir, socketDir, dieWithParent: true, settings: { shared_buffers: '16MB' } });
  let postgres = await start();
  const own = await TestCell.start({ url: postgres.url, stop: () => postgres.stop() });
  try {
    for (let n = 0; n < 2; n++) own.addHost();
    const processor = await own.addProcessor({ ...lease, store: shortTimes });
    const kept = await launch(own, processor, 'kept');
    await untilRunning(own, processor, [kept]);
    await postgres.stop();
    await cp(dataDir, copy, { recursive: true, preserveTimestamps: true });
    postgres = await start();
    const forgotten = await launchPatiently(own, [processor], 'forgotten');
    await untilRunning(own, processor, [forgotten]);
    await postgres.stop();
    await rm(dataDir, { recursive: true });
    await cp(copy, dataDir, { recursive: true, preserveTimestamps: true });
    await untouched(own, async () => {
      postgres = await start();
      const began = performance.now();
      const later = await launchPatiently(own, [processor], 'later');
      await untilRunning(own, processor, [later]);
      assert.ok(performance.now() - began < backWithinMs);
      // Each host says hello again, and reports the VM that no row knows.
      for (const caller of processor.callers) caller.close();
      await until('hosts are back', () =>
        own.hosts.every((host) => processor.cell.services.hosts.has(host.hostId)),
      );
      const { services, owner } = processor.cell;
      const reconciler = new HostReconciler({ services, owner, begun: () => undefined });
      for (let round = 0; round < 5; round++)
        for (const host of own.hosts) {
          const { vms } = host.report();
          await reconciler.reconcile(host.hostId, vms);
        }
    });
    assert.equal(own.world.runningOn(forgotten).length, 1);
  } finally {
    await own.stop();
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  }
});
