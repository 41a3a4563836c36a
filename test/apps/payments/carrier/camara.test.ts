/** The carrier's API in CAMARA's shape: client and stand-in against each other, over HTTP (S9.4). */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { carrierClient } from '#payments/carrier/client.ts';
import { type CarrierStandIn, startCarrierStandIn } from '#payments/carrier/stand-in.ts';
import { moved } from '#payments/location/geodesic.ts';

const center = { latitude: 48.137, longitude: 11.575 };
const now = Date.parse('2026-11-26T12:00:00Z');
const phone = '+491700000001';
let carrier: CarrierStandIn;

before(async () => {
  carrier = await startCarrierStandIn({ clock: () => now, covers: (position) => position.latitude > 40 });
});
after(() => carrier.close());

const ask = (radius = 2_000, options: { maxAge?: number; at?: typeof center } = {}) =>
  carrierClient({ baseUrl: carrier.baseUrl, deadlineMs: 2_000 }).verify({
    device: { phoneNumber: phone },
    area: { areaType: 'CIRCLE', center: options.at ?? center, radius },
    maxAge: options.maxAge,
  });

test('TRUE, FALSE, and PARTIAL with the share of the cell that lies in the circle', async () => {
  const at = (metres: number) =>
    carrier.attach(phone, { position: moved(center, 0, metres), cellRadiusM: 500, seenMs: now - 30_000 });
  at(1_000);
  assert.deepEqual(await ask(), {
    kind: 'answer',
    result: 'TRUE',
    matchRate: null,
    lastLocationMs: now - 30_000,
  });
  at(2_600);
  assert.deepEqual(await ask(), {
    kind: 'answer',
    result: 'FALSE',
    matchRate: null,
    lastLocationMs: now - 30_000,
  });
  const shares: number[] = [];
  for (const metres of [1_600, 2_000, 2_400]) {
    at(metres);
    const said = await ask();
    assert.ok(
      said.kind === 'answer' && said.result === 'PARTIAL' && said.matchRate !== null,
      JSON.stringify(said),
    );
    shares.push(said.matchRate);
  }
  assert.ok(
    (shares[0] ?? 0) > 90 && (shares[1] ?? 0) > 40 && (shares[1] ?? 0) < 50 && (shares[2] ?? 99) < 10,
    `${shares}`,
  );
});

test('what it cannot say has CAMARA’s codes', async () => {
  carrier.attach(phone, { position: center, cellRadiusM: 500, seenMs: now - 300_000 });
  const unable = (code: string) => ({ kind: 'unable', code: `LOCATION_VERIFICATION.${code}` });
  assert.deepEqual(await ask(2_000, { maxAge: 120 }), unable('UNABLE_TO_FULFILL_MAX_AGE'));
  assert.deepEqual(await ask(50), unable('INVALID_AREA'));
  assert.deepEqual(await ask(2_000, { at: { latitude: 1, longitude: 1 } }), unable('AREA_NOT_COVERED'));
  carrier.attach(phone, undefined);
  assert.deepEqual(await ask(), unable('UNABLE_TO_LOCATE'));
});

test('a carrier that is silent, broken or talks nonsense is away, and never an error', async () => {
  let body = 'no json';
  const broken = createServer((_, response) => {
    if (body !== '') response.end(body);
  });
  await new Promise<void>((resolve) => broken.listen(0, '127.0.0.1', resolve));
  const baseUrl = `http://127.0.0.1:${(broken.address() as AddressInfo).port}`;
  const kind = async (url = baseUrl) =>
    (
      await carrierClient({ baseUrl: url, deadlineMs: 200 }).verify({
        device: { phoneNumber: phone },
        area: { areaType: 'CIRCLE', center, radius: 2_000 },
      })
    ).kind;
  for (body of ['no json', '{}', '{"verificationResult":"MAYBE"}', 'x'.repeat(20_000), ''])
    assert.equal(await kind(), 'away', body.slice(0, 20));
  broken.closeAllConnections();
  await new Promise((resolve) => broken.close(resolve));
  assert.equal(await kind(), 'away');
});
