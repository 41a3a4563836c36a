/** Bad input: refused with a code, and nothing booked. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { afterEach, before, test } from 'node:test';
import { retain } from '#payments/location/retention.ts';
import { newNonce, Phone } from '../support/phone.ts';
import { near, type Service, service } from '../support/service.ts';
import { statementsOf } from '../support/work.ts';

let on: Service;
let ana: Phone;
let ben: Phone;
let postings = 0;

const countPostings = async (): Promise<number> =>
  (await on.app.pool.query('select 1 from ledger_posting')).rows.length;
const payee = () => ({ kind: 'contact', personId: ben.personId });
const money = (amountMinor: unknown = '100', currency: unknown = 'EUR') => ({ amountMinor, currency });
const paying = (fields: object = {}) => ({ payee: payee(), money: money(), note: '', ...fields });
const codeOf = (reply: { body: unknown }): string =>
  (reply.body as { error?: { code: string } }).error?.code ?? 'none';

before(async () => {
  on = await service();
  [ana, ben] = await Promise.all([on.phone('@ana'), on.phone('@ben')]);
  await ana.report(near(0));
  await ben.report(near(10));
  postings = await countPostings();
});

afterEach(async () => {
  assert.equal(await countPostings(), postings, 'nothing is booked');
  await on.balanced();
});

test('forged, altered and foreign signatures', async () => {
  const genuine = await ana.message('payment', paying());
  const altered = { ...genuine, payload: { ...genuine.payload, money: money('200') } };
  assert.equal(codeOf(await ana.send('pay', altered)), 'signature_invalid');
  assert.equal(codeOf(await ana.send('pay', { ...genuine, signature: 'A'.repeat(86) })), 'signature_invalid');
  assert.equal(codeOf(await ana.send('pay', { ...genuine, signature: 'A'.repeat(85) })), 'invalid_request');
  // Another's device, with the other's genuine signature, in one's own session.
  const foreign = await ben.message(
    'payment',
    paying({ payee: { kind: 'contact', personId: ana.personId } }),
  );
  assert.equal(codeOf(await ana.send('pay', foreign)), 'device_not_yours');
  // One's own device id, signed by another key.
  const stolen = await ben.sign({ ...genuine.payload, nonce: newNonce() });
  assert.equal(codeOf(await ana.send('pay', stolen)), 'signature_invalid');
  // A signature for one thing is none for another.
  const ask = await ana.message('ask', { money: money(), note: '', expiresInMinutes: 5 });
  assert.equal(codeOf(await ana.send('pay', ask)), 'invalid_request');
});

test('a store that has no room just now says so, and the same again succeeds', async () => {
  const { pool } = on.app;
  for (const [state, name] of [
    ['53100', 'disk_full'],
    ['53300', 'connections'],
    ['57014', 'cut_off'],
  ] as const) {
    await pool.query(`create function ${name}() returns trigger language plpgsql as $$
      begin raise exception 'refused' using errcode = '${state}'; end $$`);
    await pool.query(
      `create trigger ${name} before insert on session for each statement execute function ${name}()`,
    );
    await assert.rejects(on.phone('@ben'), { code: 'busy' }, state);
    await pool.query(`drop function ${name}() cascade`);
    await on.phone('@ben');
  }
});

test('a removed device signs no more, and its key cannot be registered again, by anybody', async () => {
  const lost = await ana.second();
  await ana.call('removeDevice', undefined, { params: { deviceId: lost.deviceId } });
  await assert.rejects(lost.signed('pay', 'payment', paying()), { code: 'device_not_yours' });
  for (const phone of [ana, ben])
    await assert.rejects(phone.call('addDevice', { name: 'x', publicKey: await lost.publicKey() }), {
      code: 'state_conflict',
    });
  const key = { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43) };
  assert.equal(codeOf(await ana.send('addDevice', { name: 'x', publicKey: key })), 'invalid_request');
});

test('replayed: the message with a new key, the key with another message', async () => {
  const far = await ana.message('payment', paying({ money: money('99999999') }));
  const first = await ana.send('pay', far, { key: 'replay-1' });
  assert.equal(first.status, 200);
  assert.equal(codeOf(await ana.send('pay', far, { key: 'replay-2' })), 'message_replayed');
  const other = await ana.message('payment', paying({ money: money('99999998') }));
  assert.equal(codeOf(await ana.send('pay', other, { key: 'replay-1' })), 'idempotency_key_reused');
  assert.equal(codeOf(await ana.send('pay', other, { key: '' })), 'idempotency_key_missing');
  assert.equal(codeOf(await ana.send('pay', other, { key: 'x'.repeat(256) })), 'invalid_request');
});

test('a clock that is an hour off', async () => {
  for (const [offset, code] of [
    [3_600_000, 'message_from_future'],
    [-3_600_000, 'message_too_old'],
  ] as const) {
    const message = await ana.message('payment', paying(), on.now() + offset);
    assert.equal(codeOf(await ana.send('pay', message)), code);
  }
});

test('amounts at and beyond the limits, below the smallest unit, in other currencies', async () => {
  const wrong: readonly (readonly [object, string])[] = [
    [money('0'), 'amount_out_of_range'],
    [money('-1'), 'amount_out_of_range'],
    [money('0.5'), 'amount_out_of_range'],
    [money('1e3'), 'amount_out_of_range'],
    [money('100000001'), 'amount_out_of_range'],
    [money('9'.repeat(40)), 'amount_out_of_range'],
    [money(100), 'amount_out_of_range'],
    [money(' 1'), 'amount_out_of_range'],
    [money('100', 'USD'), 'currency_mismatch'],
    [money('100', 'XTS'), 'invalid_request'],
    [money('100', 'eur'), 'invalid_request'],
  ];
  for (const [amount, code] of wrong)
    assert.equal(
      codeOf(await ana.send('pay', await ana.message('payment', paying({ money: amount })))),
      code,
      JSON.stringify(amount),
    );
  const most = await ana.signed('pay', 'payment', paying({ money: money('100000000') }));
  assert.deepEqual([most.state, most.reasons[0]], ['declined', 'over_payment_limit']);
});

test('places that are none: NaN, infinity, beyond the poles; and the poles and the date line, which are', async () => {
  const positions = [
    '{"latitude":NaN,"longitude":0}',
    '{"latitude":1e999,"longitude":0}',
    '{"latitude":90.1,"longitude":0}',
    '{"latitude":0,"longitude":181}',
    '{"latitude":"1","longitude":0}',
    '{"latitude":null,"longitude":0}',
  ];
  for (const position of positions) {
    const text = `{"payload":{"type":"location.report","deviceId":"${ana.deviceId}","nonce":"${newNonce()}","at":${on.now()},"fixes":[{"source":"gnss","accuracyM":5,"at":${on.now()},"position":${position}}]},"signature":"${'A'.repeat(86)}"}`;
    assert.equal(codeOf(await ana.send('report', text)), 'invalid_request', position);
  }
  for (const accuracyM of [0, -1, 50_001])
    await assert.rejects(ana.report(near(0), { accuracyM }), { code: 'invalid_request' });
  on.pass(24 * 3_600_000);
  await retain(on.app);
  await ana.report({ latitude: 90, longitude: 17 });
  await ben.report({ latitude: 90, longitude: -160 });
  const pole = await ana.signed('pay', 'payment', paying({ money: money('40000') }));
  assert.deepEqual(pole.reasons, ['insufficient_funds', 'near']);
  on.pass(24 * 3_600_000);
  await retain(on.app);
  await ana.report({ latitude: 10, longitude: 179.99999 });
  await ben.report({ latitude: 10, longitude: -179.99999 });
  const line = await ana.signed('pay', 'payment', paying({ money: money('40000') }));
  assert.deepEqual(line.reasons, ['insufficient_funds', 'near']);
});

test('what is no JSON, too large, of another shape, from another site, without a session', async () => {
  assert.equal(codeOf(await ana.send('pay', '{"payload":')), 'invalid_request');
  assert.equal(
    codeOf(await ana.send('pay', JSON.stringify({ filler: 'x'.repeat(40_000) }))),
    'body_too_large',
  );
  assert.equal(codeOf(await ana.send('pay', '[]')), 'invalid_request');
  assert.equal(codeOf(await ana.send('pay', '{"__proto__":{"a":1}}')), 'invalid_request');
  assert.equal(
    codeOf(await ana.send('pay', {}, { headers: { origin: 'https://evil.example' } })),
    'origin_refused',
  );
  assert.equal(
    codeOf(await ana.send('pay', {}, { headers: { 'sec-fetch-site': 'cross-site' } })),
    'origin_refused',
  );
  assert.equal(
    codeOf(await ana.send('pay', {}, { headers: { 'content-type': 'text/plain' } })),
    'invalid_request',
  );
  const stranger = new Phone(on.url);
  assert.equal(codeOf(await stranger.send('me')), 'not_signed_in');
  stranger.cookie = 'pando_session=AAAA';
  assert.equal(codeOf(await stranger.send('me')), 'not_signed_in');
  assert.equal(codeOf(await stranger.send('operatorSignIn', { token: 'wrong' })), 'operator_only');
  assert.equal(
    codeOf(await ana.send('payment', undefined, { params: { paymentId: 'pay_1' } })),
    'invalid_request',
  );
  assert.equal(
    codeOf(await ana.send('payment', undefined, { params: { paymentId: `pay_${'0'.repeat(26)}` } })),
    'not_found',
  );
});

test('oneself, nobody, and what was not asked for', async () => {
  const attempt = async (fields: object): Promise<string> =>
    codeOf(await ana.send('pay', await ana.message('payment', paying(fields))));
  const askId = `ask_${'0'.repeat(26)}`;
  assert.equal(await attempt({ payee: { kind: 'contact', personId: ana.personId } }), 'payee_not_available');
  assert.equal(
    await attempt({ payee: { kind: 'contact', personId: `per_${'0'.repeat(26)}` } }),
    'payee_not_available',
  );
  assert.equal(await attempt({ payee: { kind: 'ask', askId, token: 'x' } }), 'payee_not_available');
  const ask = await ben.signed('ask', 'ask', { money: money('500'), note: '', expiresInMinutes: 5 });
  const token = ask.qr?.split(':')[3] ?? '';
  assert.equal(
    await attempt({ payee: { kind: 'ask', askId: ask.askId, token: 'wrong' }, money: money('500') }),
    'payee_not_available',
  );
  assert.equal(
    await attempt({ payee: { kind: 'ask', askId: ask.askId, token }, money: money('499') }),
    'state_conflict',
  );
  assert.equal(
    codeOf(
      await ben.send(
        'pay',
        await ben.message(
          'payment',
          paying({ payee: { kind: 'ask', askId: ask.askId, token }, money: money('500') }),
        ),
      ),
    ),
    'invalid_request',
  );
});

test('ten thousand requests from one account: those over its rate are refused before any work', async () => {
  const limited = await service({ config: { accountRequestsPerS: 10 } });
  const phone = await limited.phone('@ana');
  const other = await limited.phone('@ben');
  const { port } = new URL(limited.url);
  const statuses = new Map<number, number>();
  // The service's clock stands still: the bucket is what it was at the start.
  const one = () =>
    new Promise<void>((resolve, reject) => {
      const call = request(
        { port, host: '127.0.0.1', path: '/v1/me', headers: { cookie: phone.cookie } },
        (response) => {
          statuses.set(response.statusCode ?? 0, (statuses.get(response.statusCode ?? 0) ?? 0) + 1);
          response.resume();
          response.on('end', resolve);
        },
      );
      call.on('error', reject);
      call.end();
    });
  const total = Number(process.env.PANDO_FLOOD ?? 10_000);
  const statements = await statementsOf(limited.app.pool, async () => {
    for (let sent = 0; sent < total; sent += 100) await Promise.all(Array.from({ length: 100 }, one));
  });
  // Those that were let through look up their session and the person, each in a few statements; the others nothing.
  assert.ok(statements.length < 40 * 10, `${statements.length} statements`);
  assert.ok((statuses.get(200) ?? 0) <= 40, `${statuses.get(200)} were let through`);
  assert.equal((statuses.get(200) ?? 0) + (statuses.get(429) ?? 0), total);
  await other.call('me');
  limited.pass(1_000);
  await phone.call('me');
  assert.equal(Number((await phone.send('me')).status), 200);
});
