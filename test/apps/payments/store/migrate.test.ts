/** Schema steps of several processes that start at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ensureDatabase } from '#base/postgres/create.ts';
import { migrate } from '#payments/store/migrate.ts';
import { openPool } from '#payments/store/pool.ts';
import { atEnd, server } from '../support/database.ts';

const rounds = 5;
const processes = 8;

test('processes that begin on an empty database at once run each step once, and all of them start', async () => {
  const { server: running } = await server();
  for (let round = 0; round < rounds; round++) {
    const pool = openPool({ url: await ensureDatabase(running.url, `empty${round}`), poolMax: processes });
    atEnd(() => pool.end());
    // As many connections as there are processes, so that all of them begin together.
    const clients = await Promise.all(Array.from({ length: processes }, () => pool.connect()));
    for (const client of clients) client.release();
    const steps = [{ name: '0001-a', up: 'create table a (id int); insert into a values (1)' }];
    await Promise.all(Array.from({ length: processes }, () => migrate(pool, steps)));
    assert.deepEqual((await pool.query('select id from a')).rows, [{ id: 1 }]);
  }
});
