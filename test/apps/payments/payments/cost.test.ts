/** What a decision costs: it must not grow by what has nothing to do with it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { near, type Service, service } from '../support/service.ts';
import { plansOfLargeTables, statementsOf, tripsOf } from '../support/work.ts';

/** A service with one connection, and a phone that is too far from whom it pays. */
async function declining(): Promise<{ readonly on: Service; pay(): Promise<void> }> {
  const on = await service({ databaseOptions: plansOfLargeTables, config: { poolMax: 1 } });
  const [ana, cafe] = [await on.phone('@ana'), await on.phone('@cafe.luna')];
  const { establishmentId } = await cafe.call('me');
  await ana.signed('setRules', 'rules.set', {
    rules: { ...(await ana.call('rules')), onFar: 'decline' },
  });
  await ana.report(near(5_000));
  return {
    on,
    pay: async () =>
      assert.equal((await ana.pay({ kind: 'establishment', establishmentId }, '1')).state, 'declined'),
  };
}

test('a decision takes two trips to the store, once a message of the phone has been seen', async () => {
  const { on, pay } = await declining();
  for (let at = 0; at < 3; at += 1) assert.equal(await tripsOf(on.app.pool, pay), 2);
});

test('what was declined today makes no later decision read more', async () => {
  const { on, pay } = await declining();
  const paymentsRead = async (): Promise<string[]> =>
    (await statementsOf(on.app.pool, pay)).filter((line) => line.startsWith('  payment:'));
  await pay();
  const first = await paymentsRead();
  for (let at = 0; at < 25; at += 1) await pay();
  assert.equal(first.length, 1, `${first}`);
  assert.deepEqual(await paymentsRead(), first);
});
