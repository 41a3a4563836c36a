/** What a decision reads: it must not grow by what has nothing to do with it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { near, service } from '../support/service.ts';
import { plansOfLargeTables, statementsOf } from '../support/work.ts';

test('what was declined today makes no later decision read more', async () => {
  const on = await service({ databaseOptions: plansOfLargeTables, config: { poolMax: 1 } });
  const [ana, cafe] = [await on.phone('@ana'), await on.phone('@cafe.luna')];
  const { establishmentId } = await cafe.call('me');
  await ana.signed('setRules', 'rules.set', {
    rules: { ...(await ana.call('rules')), onFar: 'decline' },
  });
  await ana.report(near(5_000));
  const pay = async (): Promise<void> =>
    assert.equal((await ana.pay({ kind: 'establishment', establishmentId }, '1')).state, 'declined');
  const paymentsRead = async (): Promise<string[]> =>
    (await statementsOf(on.app.pool, pay)).filter((line) => line.startsWith('  payment:'));
  await pay();
  const first = await paymentsRead();
  for (let at = 0; at < 25; at += 1) await pay();
  assert.equal(first.length, 1, `${first}`);
  assert.deepEqual(await paymentsRead(), first);
});
