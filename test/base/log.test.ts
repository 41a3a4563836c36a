import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import pg from 'pg';
import { loggerTo } from '#base/log.ts';
import { startTestDatabase, type TestDatabase } from './postgres/test-database.ts';

let database: TestDatabase;
let client: pg.Client;
before(async () => {
  database = await startTestDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});
after(async () => {
  await client.end();
  await database.stop();
});

it('of a row that the store refuses nothing stands in the log, but for why', async () => {
  await client.query('create table kept (user_data text check (length(user_data) < 3))');
  const error: unknown = await client
    .query('insert into kept values ($1)', ['the-secret'])
    .catch((refused: unknown) => refused);
  assert.match(String(Reflect.get(Object(error), 'detail')), /the-secret/, 'PostgreSQL tells of the row');
  let written = '';
  loggerTo('test', {
    write: (text) => {
      written += text;
    },
  }).error({ err: error }, 'refused');
  assert.match(written, /kept_user_data_check/);
  assert.doesNotMatch(written, /the-secret/);
});
