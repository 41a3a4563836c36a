/** A request that begins with what is remembered of who asks: the store has the last word on it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Phone } from '../support/phone.ts';
import { near, type Service, service } from '../support/service.ts';
import { statementsOf } from '../support/work.ts';

interface Scene {
  readonly on: Service;
  readonly ana: Phone;
  /** A signed payment to the café. */
  body(): Promise<object>;
  /** What has been written for payments: keys, nonces, payments, decisions. */
  written(): Promise<unknown>;
}

async function scene(): Promise<Scene> {
  const on = await service();
  const [ana, cafe] = [await on.phone('@ana'), await on.phone('@cafe.luna')];
  const { establishmentId } = await cafe.call('me');
  await ana.report(near(5));
  const payee = { kind: 'establishment', establishmentId };
  return {
    on,
    ana,
    body: () => ana.message('payment', { payee, money: { amountMinor: '1', currency: 'EUR' }, note: '' }),
    written: async () => {
      const { rows } = await on.app.pool.query(
        `select (select count(*) from idempotency_key) keys, (select count(*) from nonce) nonces,
           (select count(*) from payment) payments, (select count(*) from decision) decisions`,
      );
      return rows[0];
    },
  };
}

const codeOf = (reply: { readonly body: unknown }): unknown =>
  (reply.body as { error?: { code: string } }).error?.code;

test('the second payment of a phone looks up who asks in its own transaction, before anything else', async () => {
  const { on, ana, body } = await scene();
  await ana.send('pay', await body());
  await on.app.background.done();
  const message = await body();
  const statements = (await statementsOf(on.app.pool, () => ana.send('pay', message))).filter(
    (line) => !line.startsWith('  '),
  );
  assert.match(statements[0] ?? '', /^begin/);
  assert.match(statements[1] ?? '', /from session s left join device .*→ 1$/s);
  assert.equal(statements.filter((line) => line.includes('from session')).length, 1, statements.join('\n'));
});

test('a session that has ended is refused and writes nothing, and so is one that has expired', async () => {
  for (const end of ['delete from session', 'update session set expires_ms = 0']) {
    const { on, ana, body, written } = await scene();
    const [message, key] = [await body(), 'first'];
    assert.equal((await ana.send('pay', message, { key })).status, 200);
    await on.app.pool.query(end);
    const before = await written();
    assert.equal(codeOf(await ana.send('pay', await body())), 'not_signed_in');
    // Nor is it told what is kept.
    assert.equal(codeOf(await ana.send('pay', message, { key })), 'not_signed_in');
    assert.deepEqual(await written(), before);
  }
});

test('a device that was removed is refused and writes nothing', async () => {
  const { on, ana, body, written } = await scene();
  const [message, key] = [await body(), 'first'];
  assert.equal((await ana.send('pay', message, { key })).status, 200);
  const other = await on.phone('@ana');
  await other.call('removeDevice', undefined, { params: { deviceId: ana.deviceId } });
  const before = await written();
  assert.equal(codeOf(await ana.send('pay', await body())), 'device_not_yours');
  assert.equal(codeOf(await ana.send('pay', message, { key })), 'device_not_yours');
  assert.deepEqual(await written(), before);
});

test('a forged signature of a phone that is known is refused and writes nothing', async () => {
  const { ana, body, written } = await scene();
  assert.equal((await ana.send('pay', await body())).status, 200);
  const before = await written();
  const forged = { ...(await body()), signature: 'A'.repeat(86) };
  assert.equal(codeOf(await ana.send('pay', forged)), 'signature_invalid');
  assert.equal(codeOf(await ana.send('pay', { ...(await body()), more: 1 })), 'invalid_request');
  assert.deepEqual(await written(), before);
});

test('who joins a request that is being carried out is looked up like anybody', async () => {
  const { on, ana, body } = await scene();
  const other = new Phone(on.url, on.now);
  await other.call('demoSignIn', { handle: '@ana' });
  for (const phone of [ana, other]) assert.equal((await phone.send('pay', await body())).status, 200);
  const message = await body();
  const holder = await on.app.pool.connect();
  try {
    await holder.query('begin');
    await holder.query('select 1 from person where person_id = $1 for update', [ana.personId]);
    const first = ana.send('pay', message, { key: 'joined' });
    const waits = `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%payment_payer%'`;
    while ((await on.app.pool.query(waits)).rowCount === 0);
    const token = other.cookie.split('=')[1] ?? '';
    await on.app.pool.query(`delete from session where token_hash = sha256(convert_to($1, 'UTF8'))`, [token]);
    assert.equal(codeOf(await other.send('pay', message, { key: 'joined' })), 'not_signed_in');
    await holder.query('commit');
    assert.equal((await first).status, 200);
  } finally {
    holder.release();
  }
});
