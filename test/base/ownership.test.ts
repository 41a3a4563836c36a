import assert from 'node:assert/strict';
import { AsyncResource } from 'node:async_hooks';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { type Kysely, sql } from 'kysely';
import { type CasOutcome, OwnershipTable } from '#base/ownership.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { transact } from '#base/postgres/transaction.ts';
import { startTestDatabase, type TestDatabase } from './postgres/test-database.ts';

interface Schema {
  thing: { id: string; owner: string | null; age: number };
}

const table = new OwnershipTable({ table: 'thing', id: 'id', holder: 'owner', epoch: 'age' });
let database: TestDatabase;
let db: Kysely<Schema>;
let things = 0;

before(async () => {
  database = await startTestDatabase();
  db = openDatabase<Schema>({ url: database.url, poolMax: 12 });
  await sql`create table thing (id text primary key, owner text, age bigint not null)`.execute(db);
});
after(async () => {
  await db.destroy();
  await database.stop();
});

const newThing = async (owner: string | null = null, age = 0): Promise<string> => {
  const id = `t-${things++}`;
  await db.insertInto('thing').values({ id, owner, age }).execute();
  return id;
};

test('a higher epoch takes over, a repeat changes nothing, an older or rival one is stale', async () => {
  const id = await newThing();
  assert.equal((await table.set(db, id, { holder: 'a', epoch: 1 })).kind, 'changed');
  assert.equal((await table.set(db, id, { holder: 'a', epoch: 1 })).kind, 'unchanged');
  assert.deepEqual(await table.set(db, id, { holder: 'b', epoch: 1 }), {
    kind: 'stale',
    ownership: { holder: 'a', epoch: 1 },
  });
  assert.equal((await table.set(db, id, { holder: null, epoch: 5 })).kind, 'changed');
  assert.equal((await table.set(db, id, { holder: 'a', epoch: 4 })).kind, 'stale');
  assert.deepEqual(await table.read(db, id), { holder: null, epoch: 5 });
  assert.equal((await table.set(db, 'nothing', { holder: 'a', epoch: 1 })).kind, 'absent');
  assert.equal((await table.take(db, 'nothing', 'a', { holder: null, epoch: 1 })).kind, 'absent');
  await assert.rejects(table.set(db, id, { holder: 'a', epoch: -1 }), RangeError);
});

test('property: any sequence of sets behaves as the model', async () => {
  const command = fc.record({ holder: fc.constantFrom('a', 'b', null), epoch: fc.nat(6) });
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 12 }), async (commands) => {
      const id = await newThing();
      let model = { holder: null as string | null, epoch: 0 };
      for (const { holder, epoch } of commands) {
        const wanted = { holder, epoch };
        const outcome = await table.set(db, id, wanted);
        const expected: CasOutcome['kind'] =
          wanted.epoch > model.epoch
            ? 'changed'
            : wanted.epoch === model.epoch && wanted.holder === model.holder
              ? 'unchanged'
              : 'stale';
        if (expected === 'changed') model = wanted;
        assert.equal(outcome.kind, expected);
        assert.deepEqual(await table.read(db, id), model);
      }
    }),
    { numRuns: 40 },
  );
});

test('of many that saw the same and take at once, exactly one wins', async () => {
  for (let round = 0; round < 10; round++) {
    const id = await newThing('old', 3);
    const outcomes = await Promise.all(
      Array.from({ length: 12 }, (_, n) => table.take(db, id, `n${n}`, { holder: 'old', epoch: 3 })),
    );
    assert.equal(outcomes.filter((outcome) => outcome.kind === 'changed').length, 1);
    assert.equal(outcomes.filter((outcome) => outcome.kind === 'stale').length, 11);
    assert.equal((await table.read(db, id))?.epoch, 4);
  }
});

test('sets at once with one epoch: one holder, told the truth to all', async () => {
  for (let round = 0; round < 10; round++) {
    const id = await newThing();
    const outcomes = await Promise.all(
      Array.from({ length: 12 }, (_, n) => table.set(db, id, { holder: `n${n}`, epoch: 7 })),
    );
    const now = await table.read(db, id);
    assert.equal(outcomes.filter((outcome) => outcome.kind === 'changed').length, 1);
    for (const outcome of outcomes) {
      assert.ok(outcome.kind === 'changed' || outcome.kind === 'stale');
      assert.deepEqual(outcome.ownership, now, 'also the losers that waited for the row see the winner');
    }
  }
});

test('sets at once with rising epochs end with the highest', async () => {
  const id = await newThing();
  await Promise.all(
    Array.from({ length: 30 }, (_, n) => table.set(db, id, { holder: `n${n}`, epoch: n + 1 })),
  );
  assert.deepEqual(await table.read(db, id), { holder: 'n29', epoch: 30 });
});

test('a frozen holder wakes up: its write is refused, and its claim cannot be overtaken in between', async () => {
  const id = await newThing('a', 1);
  // Another process: what it does is not inside of our transaction.
  const takeAsRival = AsyncResource.bind(() => table.take(db, id, 'b', { holder: 'a', epoch: 1 }));
  await transact(db, async (tx) => {
    await table.assertHeld(tx, id, { holder: 'a', epoch: 1 });
    const rival = takeAsRival();
    const first = await Promise.race([
      rival.then(() => 'rival'),
      sql`select 1`.execute(tx).then(() => 'ours'),
    ]);
    assert.equal(first, 'ours', 'the rival waits for our transaction');
    rival.catch(() => undefined);
  });
  await assert.rejects(
    async () => {
      for (let n = 0; n < 200; n++)
        await transact(db, (tx) => table.assertHeld(tx, id, { holder: 'a', epoch: 1 }));
    },
    { code: 'StaleEpoch' },
  );
  await assert.rejects(
    transact(db, (tx) => table.assertHeld(tx, 'nothing', { holder: 'a', epoch: 1 })),
    {
      code: 'StaleEpoch',
    },
  );
});
