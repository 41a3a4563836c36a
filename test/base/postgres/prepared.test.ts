import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import pg from 'pg';
import { openDatabase, poolOf } from '#base/postgres/database.ts';
import { transactPipelined } from '#base/postgres/pipelined.ts';
import { type Answer, queryPrepared } from '#base/postgres/prepared.ts';
import { startTestDatabase, type TestDatabase } from './test-database.ts';

const bigTable = `create table thing (id int primary key, size bigint not null default 7, seen timestamptz not null default now(),
  facts jsonb not null default '{"a": [1, null]}', names text[] not null default '{x,"y z"}', bytes bytea not null default '\\x00ff', note text)`;

let database: TestDatabase;

before(async () => {
  database = await startTestDatabase();
});
after(() => database.stop());

describe('a prepared statement on one connection', () => {
  let client: pg.Client;
  /** Row descriptions that the server has sent. */
  let described = 0;

  beforeEach(async () => {
    client = new pg.Client({ connectionString: database.url, pipeline: true });
    await client.connect();
    described = 0;
    const handle: { connection: pg.Connection } = client as never;
    handle.connection.on('rowDescription', () => described++);
    await client.query(`drop table if exists thing; ${bigTable}; insert into thing (id) values (1), (2)`);
  });
  afterEach(() => client.end());

  const run = (name: string, text: string, values: unknown[] = []): Promise<Answer> =>
    queryPrepared(client, { name, text, values });

  it('answers what the client itself would answer, each time, and is described once', async () => {
    const text = 'select * from thing where id >= $1 order by id';
    const expected = (await client.query(text, [1])).rows;
    described = 0;
    for (let times = 0; times < 3; times++) {
      const { command, rowCount, rows } = await run('all', text, [1]);
      assert.deepEqual({ command, rowCount, rows }, { command: 'SELECT', rowCount: 2, rows: expected });
    }
    assert.equal(described, 1);
    // Also where the first answer has no rows.
    described = 0;
    for (const [from, count] of [
      [9, 0],
      [2, 1],
      [9, 0],
    ] as const) // prettier-ignore
      assert.equal((await run('some', text, [from])).rows.length, count);
    assert.equal(described, 1);
  });

  it('has no columns where it answers none, and tells how many rows it changed', async () => {
    for (let times = 0; times < 2; times++) {
      const changed = await run('change', 'update thing set note = $1', ['n']);
      assert.deepEqual(changed, { command: 'UPDATE', rowCount: 2, rows: [] });
    }
    const made = await run('make', 'insert into thing (id) values ($1)', [3]);
    assert.deepEqual(made, { command: 'INSERT', rowCount: 1, rows: [] });
  });

  it('is described again by nobody after it has failed, and answers the next time', async () => {
    const text = 'select 12 / $1::int as share';
    await assert.rejects(run('divide', text, [0]), { code: '22012' });
    for (const divisor of [3, 4])
      assert.deepEqual((await run('divide', text, [divisor])).rows, [{ share: 12 / divisor }]);
    await assert.rejects(run('divide', text, [0]), { code: '22012' });
    assert.deepEqual((await run('divide', text, [6])).rows, [{ share: 2 }]);
  });

  it('answers each of many that travel together', async () => {
    const text = 'select $1::int as n, $2::text as t';
    for (let times = 0; times < 2; times++) {
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, n) =>
          n % 7 === 3
            ? run('fail', 'select 1 / $1::int', [0]).catch(() => 'failed')
            : run(`q${n % 3}`, text, [n, `${n}`]),
        ),
      );
      for (const [n, answer] of answers.entries())
        assert.deepEqual(
          typeof answer === 'string' ? answer : answer.rows,
          n % 7 === 3 ? 'failed' : [{ n, t: `${n}` }],
        );
    }
  });

  it('is refused by the server, and misread by nobody, once its table has other columns', async () => {
    const text = 'select * from thing where id = $1';
    await run('one', text, [1]);
    await client.query('alter table thing add column late text');
    await assert.rejects(run('one', text, [1]), { code: '0A000' });
    await client.query('alter table thing drop column late');
    assert.equal((await run('one', text, [1])).rows.length, 1);
  });

  it('fails for a value that cannot be read, and the next one is answered', async () => {
    pg.types.setTypeParser(pg.types.builtins.INT2, () => {
      throw new Error('unreadable');
    });
    try {
      for (let times = 0; times < 2; times++)
        await assert.rejects(run('small', 'select $1::int2 as n', [1]), /unreadable/);
      assert.deepEqual((await run('other', 'select $1::int as n', [1])).rows, [{ n: 1 }]);
    } finally {
      pg.types.setTypeParser(pg.types.builtins.INT2, Number);
    }
  });

  it('carries BEGIN and COMMIT, of which its own answer says nothing', async () => {
    await client.query({ name: 'begin', text: 'begin' });
    await client.query({ name: 'commit', text: 'commit' });
    const statement = {
      name: 'note',
      text: 'update thing set note = $1 where id = $2 returning id',
      values: ['a', 1],
    };
    for (const joined of [
      { begin: true, commit: true },
      { begin: true, commit: false },
      { begin: false, commit: true },
    ]) {
      const answer = await queryPrepared(client, statement, joined);
      assert.deepEqual(answer, { command: 'UPDATE', rowCount: 1, rows: [{ id: 1 }] });
    }
    const { rows } = await client.query('select note from thing where id = 1');
    assert.deepEqual(rows, [{ note: 'a' }]);
    // What cannot be encoded is followed by no COMMIT, nor is a statement after it.
    const circle: { self?: unknown } = {};
    circle.self = circle;
    await assert.rejects(
      queryPrepared(
        client,
        { ...statement, name: 'bad', values: [circle, 1] },
        { begin: true, commit: true },
      ),
    );
    await client.query('rollback');
  });

  it('tells of a COMMIT that was a ROLLBACK', async () => {
    await client.query({ name: 'begin', text: 'begin' });
    await client.query({ name: 'commit', text: 'commit' });
    await client.query('begin');
    const failing = client.query('select nothing').catch(() => undefined);
    const last = queryPrepared(
      client,
      { name: 'last', text: 'select $1::int', values: [1] },
      { begin: false, commit: true },
    );
    await failing;
    await assert.rejects(last);
    await client.query('rollback');
  });
});

it('transactions through the pool read the same rows with their statements known as without', async () => {
  const db = openDatabase<Record<never, never>>({ url: database.url, poolMax: 2 });
  const pool = poolOf(db);
  try {
    await transactPipelined(pool, async (tx) => {
      await tx.query('create table if not exists pair (id int primary key, n int not null)');
      await tx.query('insert into pair values (1, 0), (2, 0) on conflict do nothing');
    });
    const add = () =>
      transactPipelined(pool, async (tx) => {
        const [row] = await tx.query<{ n: number }>('select n from pair where id = $1 for update', [1]);
        tx.send('update pair set n = $2 where id = $1', [1, (row?.n ?? Number.NaN) + 1]);
        const [other] = await tx.query<{ n: number }>('select n from pair where id = $1 for update', [2]);
        tx.send('update pair set n = $2 where id = $1', [2, (other?.n ?? Number.NaN) + 1]);
      });
    await Promise.all(Array.from({ length: 30 }, add));
    const rows = await transactPipelined(pool, (tx) => tx.query('select * from pair order by id'));
    assert.deepEqual(rows, [
      { id: 1, n: 30 },
      { id: 2, n: 30 },
    ]); // prettier-ignore
  } finally {
    await db.destroy();
  }
});

it('a statement without values is planned once as well, and several in one text are run as they are', async () => {
  const db = openDatabase<Record<never, never>>({ url: database.url, poolMax: 1 });
  try {
    const pool = poolOf(db);
    const asked = 'select count(*)::int as n from pg_class where false';
    for (let times = 0; times < 2; times++) assert.deepEqual(await pool.run(asked), [{ n: 0 }]);
    await pool.run('select 1; select 2');
    const texts = await pool.run<{ statement: string }>('select statement from pg_prepared_statements');
    assert.ok(texts.some(({ statement }) => statement === asked));
    assert.ok(!texts.some(({ statement }) => statement.includes('; select 2')));
  } finally {
    await db.destroy();
  }
});
