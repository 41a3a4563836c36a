/** Notifications of the store: heard, also after the connection was cut, and no longer once it is ended. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { listenStore } from '#base/postgres/listen.ts';
import { StoreProxy } from '../../support/storeProxy.ts';
import { startTestDatabase, type TestDatabase } from './test-database.ts';

let server: TestDatabase;
before(async () => {
  server = await startTestDatabase();
});
after(() => server.stop());

const until = async (condition: () => boolean): Promise<void> => {
  for (let tries = 0; !condition(); tries++) {
    assert.ok(tries < 3_000, 'it never came');
    await delay(10);
  }
};

test('what is notified is heard; a cut connection is made again, and says so; ended is ended', async () => {
  const db = openDatabase<Record<never, never>>({ url: server.url });
  let heard = 0;
  const close = listenStore({
    url: server.url,
    channel: 'some_channel',
    name: 'listens',
    heard: () => heard++,
  });
  await until(() => heard === 1);
  await sql`select pg_notify('some_channel', '')`.execute(db);
  await until(() => heard === 2);
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'listens'`.execute(
    db,
  );
  await until(() => heard === 3);
  await sql`select pg_notify('some_channel', '')`.execute(db);
  await until(() => heard === 4);
  close();
  const count = async (): Promise<number> =>
    (
      await sql<{ n: number }>`
        select count(*)::int as n from pg_stat_activity where application_name = 'listens'`.execute(db)
    ).rows[0]?.n ?? 0;
  while ((await count()) > 0) await delay(10);
  await sql`select pg_notify('some_channel', '')`.execute(db);
  assert.equal(heard, 4);
  assert.throws(() => listenStore({ url: server.url, channel: 'a; drop table x', heard: () => undefined }));
  await db.destroy();
});

test('a server that is silent from LISTEN on is left for the next', async (t) => {
  const [silent, well] = [await StoreProxy.of(server.url), await StoreProxy.of(server.url)];
  silent.silentAt = /^listen/;
  let heard = 0;
  const close = listenStore({
    url: `postgresql://pando@${silent.address},${well.address}${new URL(server.url).pathname}`,
    channel: 'some_channel',
    // The other one's time too, on a machine that does other things besides.
    queryTimeoutMs: 3_000,
    heard: () => heard++,
  });
  t.after(async () => {
    close();
    await silent.close();
    await well.close();
  });
  await until(() => heard === 1);
  assert.equal(silent.accepted, 1);
});
