/** Location reports: opt-in, what cannot be, the carrier's word, and deletion that is proved down to the files (S9.4, S9.6). */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { carrierClient } from '#payments/carrier/client.ts';
import { type CarrierStandIn, startCarrierStandIn } from '#payments/carrier/stand-in.ts';
import { preciseKeptMs } from '#payments/location/fixes.ts';
import { retain } from '#payments/location/retention.ts';
import { atEnd, server } from '../support/database.ts';
import type { Phone } from '../support/phone.ts';
import { near, type Service, service } from '../support/service.ts';

const minute = 60_000;
let on: Service;
let ana: Phone;
let ben: Phone;
let carrier: CarrierStandIn;

before(async () => {
  carrier = await startCarrierStandIn({ clock: () => on.now() });
  atEnd(() => carrier.close());
  on = await service({ carrier: carrierClient({ baseUrl: carrier.baseUrl, deadlineMs: 2_000 }) });
  ana = await on.phone('@ana', '+351910000001');
  ben = await on.phone('@ben');
});

async function later(minutes = 15): Promise<void> {
  on.pass(minutes * minute);
  await retain(on.app);
}

const attach = (metres: number, degrees = 0) =>
  carrier.attach('+351910000001', { position: near(metres, degrees), cellRadiusM: 400, seenMs: on.now() });

const reasons = async (): Promise<readonly string[]> =>
  (await ana.pay({ kind: 'contact', personId: ben.personId }, '10')).reasons;

test('nothing is kept before the person has opted in', async () => {
  await ben.call('setPrivacy', { locationOptIn: false, visibleToContacts: false });
  await assert.rejects(ben.report(near(1)), { code: 'location_not_opted_in' });
  await ben.call('setPrivacy', { locationOptIn: true, visibleToContacts: true });
  assert.equal((await ben.report(near(1))).standing, 'trusted');
});

test('after a pause in which no sweeper ran, reports make their slot of the ring themselves, many at once', async () => {
  const phones = [ana, ben, await on.phone('@cleo'), await on.phone('@dan'), await on.phone('@cafe.luna')];
  for (const minutes of [11, 25, 300]) {
    on.pass(minutes * minute);
    const standings = await Promise.all(phones.map((phone) => phone.report(near(2))));
    assert.deepEqual(
      standings.map((each) => each.standing),
      phones.map(() => 'trusted'),
    );
    assert.deepEqual((await retain(on.app)).remaining, {}, 'what is older than its time is gone');
  }
});

test('the most trusted fix of a report counts', async () => {
  await later();
  const at = on.now();
  const fix = (source: string, accuracyM: number) => ({ source, accuracyM, at, position: near(3) });
  const receipt = await ben.signed('report', 'location.report', {
    fixes: [fix('cell', 20), fix('wifi', 15), fix('gnss', 30)],
  });
  assert.equal(receipt.used, 'gnss');
});

test('stale, future, backdated and replayed reports are refused with their codes', async () => {
  await later();
  await ben.report(near(5));
  await assert.rejects(ben.report(near(5), { at: on.now() - 10_000 }), { code: 'report_backdated' });
  const fixes = [{ source: 'gnss', accuracyM: 9, at: on.now(), position: near(5) }];
  const signed = (at: number) => ben.message('location.report', { fixes }, at);
  const send = async (message: object) =>
    ben.call('report', message as Parameters<typeof ben.call<'report'>>[1]);
  await assert.rejects(send(await signed(on.now() + 3_600_000)), { code: 'message_from_future' });
  await assert.rejects(send(await signed(on.now() - 3_600_000)), { code: 'message_too_old' });
  const [fix] = fixes;
  const oldFix = await ben.message('location.report', { fixes: [{ ...fix, at: on.now() - 600_000 }] });
  await assert.rejects(send(oldFix), { code: 'message_too_old' });
  const futureFix = await ben.message('location.report', { fixes: [{ ...fix, at: on.now() + 600_000 }] });
  await assert.rejects(send(futureFix), { code: 'message_from_future' });
  on.pass(1_000);
  const once = await signed(on.now());
  await send(once);
  await assert.rejects(send(once), { code: 'message_replayed' });
});

test('a speed that nobody travels at: refused, and the device is out of decisions for a while', async () => {
  await later();
  attach(0);
  await ana.report(near(0));
  await ben.report(near(10));
  assert.deepEqual(await reasons(), ['near']);
  on.pass(10_000);
  await assert.rejects(ben.report(near(80_000)), { code: 'report_implausible_speed' });
  assert.deepEqual(await reasons(), ['payee_position_suspect', 'policy_step_up']);
  // A rule that allows what is unknown does not make a silent yes of it.
  const rules = await ana.call('rules');
  await ana.signed('setRules', 'rules.set', { rules: { ...rules, onUnknown: 'allow' } });
  assert.deepEqual(await reasons(), ['payee_position_suspect', 'policy_step_up']);
  await ana.signed('setRules', 'rules.set', { rules });
  on.pass(10_000);
  assert.equal((await ben.report(near(10))).standing, 'suspect', 'still watched');
  await later();
  assert.equal((await ben.report(near(10))).standing, 'trusted');
});

test('after the exact position is gone, the coarse cell still shows an impossible journey', async () => {
  await later(50);
  const { rows } = await on.app.pool.query('select 1 from position_fix');
  assert.equal(rows.length, 0);
  await assert.rejects(ben.report({ latitude: -33.9, longitude: 151.2 }), {
    code: 'report_implausible_speed',
  });
  await later();
});

test('the carrier’s TRUE is required where the account says so, and its FALSE is a mismatch', async () => {
  await later();
  const rules = await ana.call('rules');
  await ana.signed('setRules', 'rules.set', { rules: { ...rules, carrierRequired: true } });
  await ben.report(near(10));
  carrier.attach('+351910000001', undefined);
  await ana.report(near(0));
  assert.deepEqual(await reasons(), ['carrier_required', 'policy_step_up']);
  attach(50);
  on.pass(1_000);
  await ana.report(near(0));
  assert.deepEqual(await reasons(), ['near']);
  await later();
  attach(30_000);
  await ben.report(near(10));
  assert.equal((await ana.report(near(0))).standing, 'suspect');
  assert.deepEqual((await reasons()).slice(0, 2), ['payer_position_suspect', 'payer_carrier_mismatch']);
  attach(50);
  on.pass(1_000);
  assert.equal((await ana.report(near(0))).standing, 'trusted', 'TRUE ends the suspicion');
  assert.deepEqual(await reasons(), ['near']);
  await ana.signed('setRules', 'rules.set', { rules });
});

test('a carrier that is away costs a second at most and no payment', async () => {
  await carrier.close();
  await later();
  await ben.report(near(10));
  assert.equal((await ana.report(near(0))).standing, 'trusted');
  assert.deepEqual(await reasons(), ['near']);
});

test('erasing takes every place of the person at once', async () => {
  await later();
  await ana.report(near(0));
  const { erased } = await ana.call('eraseLocation');
  assert.ok(erased >= 2);
  for (const table of ['position_fix', 'carrier_word', 'coarse_visit']) {
    const { rows } = await on.app.pool.query(`select 1 from ${table} where person_id = $1`, [ana.personId]);
    assert.equal(rows.length, 0, table);
  }
});

/** Every data file of the cluster (not the log of changes, which recycles its files in time). */
async function dataFiles(): Promise<string[]> {
  const { dir } = await server();
  const files = await readdir(join(dir, 'd', 'base'), { recursive: true, withFileTypes: true });
  return files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
}

async function filesWith(bytes: Buffer): Promise<number> {
  await on.app.pool.query('checkpoint');
  let count = 0;
  for (const file of await dataFiles())
    if ((await readFile(file).catch(() => Buffer.alloc(0))).includes(bytes)) count += 1;
  return count;
}

test('after its time no byte of a position is left in any data file, and the run that deleted it says so', async () => {
  await later(50);
  const canary = { latitude: 40.208612345678, longitude: -8.429187654321 };
  await ana.report(canary);
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(canary.latitude);
  assert.ok((await filesWith(bytes)) > 0, 'it is stored');
  for (let passed = 0; passed <= preciseKeptMs; passed += 5 * minute) await later(5);
  assert.equal(await filesWith(bytes), 0);
  const { rows } = await on.app.pool.query(
    'select deleted, remaining from retention_run order by run_id desc limit 1',
  );
  assert.deepEqual(rows[0].remaining, {});
});

test('coarse cells and co-location counts go after their days, decisions after theirs', async () => {
  await ana.report(near(0));
  await ben.report(near(5));
  const count = async (table: string): Promise<number> =>
    (await on.app.pool.query(`select 1 from ${table}`)).rows.length;
  assert.ok(
    (await count('coarse_visit')) > 0 && (await count('co_location')) > 0 && (await count('decision')) > 0,
  );
  await later(31 * 24 * 60);
  assert.equal(await count('coarse_visit'), 0);
  assert.ok((await count('co_location')) > 0);
  await later(181 * 24 * 60);
  assert.equal(await count('co_location'), 0);
  assert.ok((await count('decision')) > 0);
  await later(401 * 24 * 60);
  assert.equal(await count('decision'), 0);
  assert.equal(await count('nonce'), 0);
});
