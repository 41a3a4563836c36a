/** Idempotency keys: replay, other body, concurrency, kept refusals, lost answers (S9.5). */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { PaymentsError } from '#payments/base/errors.ts';
import { checkKey, forgetKeys, once, recall } from '#payments/ledger/idempotency.ts';
import { openPool, type Pool } from '#payments/store/pool.ts';
import { testDatabase } from '../support/database.ts';

let pool: Pool;
let url = '';
const now = 1_000_000_000_000;
const request = (key: string, body = 'body') => ({ personId: 'per', key, request: body, nowMs: now });

before(async () => {
  ({ pool, url } = await testDatabase());
  await pool.query('create table effect (n int)');
});

const effects = async (): Promise<number> => (await pool.query('select 1 from effect')).rows.length;
const work = (n: number) => async (client: { query(text: string, values: unknown[]): Promise<unknown> }) => {
  await client.query('insert into effect values ($1)', [n]);
  return { n };
};

test('the same key and body replays the first answer; the work is done once', async () => {
  const before = await effects();
  const first = await once(pool, request('a'), work(1));
  const second = await once(pool, request('a'), work(2));
  assert.deepEqual(first, { outcome: { answer: { n: 1 } }, replayed: false });
  assert.deepEqual(second, { outcome: { answer: { n: 1 } }, replayed: true });
  assert.equal(await effects(), before + 1);
});

test('the same key with another body is an error, and nothing is written', async () => {
  await once(pool, request('b'), work(1));
  const before = await effects();
  await assert.rejects(once(pool, request('b', 'other'), work(2)), { code: 'idempotency_key_reused' });
  await assert.rejects(recall(pool, request('b', 'other')), { code: 'idempotency_key_reused' });
  assert.equal(await effects(), before);
});

test('keys of two people do not meet', async () => {
  await once(pool, request('c'), work(1));
  const other = await once(pool, { ...request('c', 'other'), personId: 'per2' }, work(2));
  assert.equal(other.replayed, false);
});

for (const [where, count] of [
  ['one process', 1],
  ['four processes', 4],
] as const)
  test(`concurrent retries at ${where} wait for the first one and get its answer`, async () => {
    const processes = [pool, ...Array.from({ length: count - 1 }, () => openPool({ url }))];
    const before = await effects();
    const begun = Promise.withResolvers<void>();
    let calls = 0;
    const attempt = (at: number, body: string) =>
      once(processes[at % count] ?? pool, request(`d-${count}`, body), async (client) => {
        calls += 1;
        const mine = calls;
        begun.resolve();
        await client.query('select pg_sleep(0.05)');
        return work(mine)(client);
      });
    const first = attempt(0, 'body');
    await begun.promise;
    const others = Array.from({ length: 7 }, (_, at) => attempt(at, 'body'));
    const wrong = assert.rejects(attempt(0, 'another body'), { code: 'idempotency_key_reused' });
    const results = await Promise.all([first, ...others]);
    await wrong;
    for (const other of processes.slice(1)) await other.end();
    assert.equal(await effects(), before + 1);
    assert.equal(calls, 1, 'the work is begun once');
    assert.equal(new Set(results.map((result) => JSON.stringify(result.outcome))).size, 1);
    assert.equal(results.filter((result) => !result.replayed).length, 1);
  });

test('retries that wait in the process take no connection of the pool from others', async () => {
  const small = openPool({ url, poolMax: 2 });
  const held = Promise.withResolvers<void>();
  const retries = Array.from({ length: 8 }, () =>
    once(small, request('waiting'), async (client) => {
      await held.promise;
      return work(1)(client);
    }),
  );
  // With one connection each, they would hold both until the first is done, and it is not done before this.
  assert.equal((await once(small, request('another'), work(2))).replayed, false);
  held.resolve();
  assert.equal(new Set((await Promise.all(retries)).map(({ outcome }) => JSON.stringify(outcome))).size, 1);
  await small.end();
});

test('what fails for all who wait for it may be tried again', async () => {
  const results = await Promise.allSettled(
    Array.from({ length: 3 }, () =>
      once(pool, request('fails'), async () => {
        throw new Error('bug');
      }),
    ),
  );
  assert.deepEqual(
    results.map((result) => result.status),
    ['rejected', 'rejected', 'rejected'],
  );
  assert.equal((await once(pool, request('fails'), work(1))).replayed, false);
});

test('a refusal undoes what was written, and is the answer from then on', async () => {
  const before = await effects();
  const refuse = async (client: Parameters<ReturnType<typeof work>>[0]) => {
    await work(1)(client);
    throw new PaymentsError('insufficient_funds', 'no');
  };
  const expected = { error: { code: 'insufficient_funds', message: 'no' } };
  assert.deepEqual((await once(pool, request('e'), refuse)).outcome, expected);
  const again = await once<unknown>(pool, request('e'), work(2));
  assert.deepEqual(again, { outcome: expected, replayed: true });
  assert.equal(await effects(), before);
});

const refusedByStore = (client: { query(text: string): Promise<unknown> }): Promise<never> =>
  client.query('select 1 / 0').then(
    () => assert.fail('that is no number'),
    () => Promise.reject(new PaymentsError('insufficient_funds', 'no')),
  );

test('a last write that nobody waited for and the store refused: nothing is written, and the refusal is kept', async () => {
  const before = await effects();
  let calls = 0;
  const result = await once<unknown>(pool, request('behind'), async (client, behind) => {
    calls += 1;
    behind(Promise.all([work(1)(client), refusedByStore(client)]));
    return 'done';
  });
  assert.deepEqual(result.outcome, { error: { code: 'insufficient_funds', message: 'no' } });
  assert.equal(calls, 2, 'the second time each write is waited for');
  assert.equal((await once<unknown>(pool, request('behind'), work(2))).replayed, true);
  assert.equal(await effects(), before);
});

test('a last write that refuses without asking the store undoes what went before it, too', async () => {
  const before = await effects();
  const result = await once<unknown>(pool, request('behind-unsent'), async (client, behind) => {
    const refused = async () => {
      throw new PaymentsError('state_conflict', 'no');
    };
    behind(Promise.all([work(1)(client), refused()]));
    return 'done';
  });
  assert.deepEqual(result.outcome, { error: { code: 'state_conflict', message: 'no' } });
  assert.equal(await effects(), before);
});

test('a deadlock of a last write is carried through by the service itself', async () => {
  const before = await effects();
  let calls = 0;
  const result = await once<unknown>(pool, request('behind-deadlock'), async (client, behind) => {
    calls += 1;
    behind(
      calls === 1
        ? client.query(`do $$ begin raise exception using errcode = '40P01'; end $$`)
        : work(calls)(client),
    );
    return calls;
  });
  assert.deepEqual([result, await effects()], [{ outcome: { answer: 2 }, replayed: false }, before + 1]);
});

test('what a request asks together with the claim of its key is undone where the key had been used', async () => {
  const before = await effects();
  const begin = (client: Parameters<ReturnType<typeof work>>[0]) => {
    const asked = work(1)(client);
    return () => asked;
  };
  assert.equal((await once(pool, request('begun'), { begin })).replayed, false);
  assert.equal(await effects(), before + 1);
  assert.equal((await once(pool, request('begun'), { begin })).replayed, true);
  await assert.rejects(once(pool, request('begun', 'other'), { begin }), { code: 'idempotency_key_reused' });
  assert.equal(await effects(), before + 1);
});

test('an error that says nothing about the request keeps nothing: the key may be tried again', async () => {
  for (const failure of [new PaymentsError('busy', 'later'), new Error('bug')]) {
    const key = `f-${failure.message}`;
    await assert.rejects(
      once(pool, request(key), () => Promise.reject(failure)),
      { message: failure.message },
    );
    assert.equal((await once(pool, request(key), work(1))).replayed, false);
  }
});

test('serialization failures and a COMMIT whose answer is lost are carried through by the service itself', async () => {
  const before = await effects();
  let attempts = 0;
  const conflict = await once(pool, request('g'), async (client) => {
    attempts += 1;
    if (attempts < 3) await client.query(`do $$ begin raise exception using errcode = '40001'; end $$`);
    return work(attempts)(client);
  });
  assert.deepEqual(conflict.outcome, { answer: { n: 3 } });

  // The server commits, and the connection dies before the answer arrives.
  const connect = pool.connect.bind(pool);
  let lost = 0;
  const unreliable = Object.assign(Object.create(pool), {
    connect: async () => {
      const client = await connect();
      if (lost > 0) return client;
      type Done = (error: unknown, result?: unknown) => void;
      const query = client.query.bind(client) as (...args: unknown[]) => unknown;
      return Object.assign(Object.create(client), {
        query: (...args: unknown[]) => {
          if (args[0] !== 'commit') return query(...args);
          const done = args[1] as Done;
          return query('commit', () => {
            lost += 1;
            done(Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' }));
          });
        },
        release: () => client.release(true),
      });
    },
  }) as Pool;
  const result = await once(unreliable, request('h'), work(7));
  assert.equal(lost, 1);
  assert.deepEqual(result, { outcome: { answer: { n: 7 } }, replayed: true });
  assert.equal(await effects(), before + 2);
});

test('keys have a form, and are forgotten after their time alone', async () => {
  for (const key of [undefined, '', 'x'.repeat(256), 'a b', 'é', '\u0000'])
    assert.throws(() => checkKey(key), PaymentsError);
  assert.equal(checkKey('x'.repeat(255)).length, 255);
  assert.equal(await forgetKeys(pool, now + 47 * 3_600_000), 0);
  assert.ok((await forgetKeys(pool, now + 49 * 3_600_000)) > 5);
});
