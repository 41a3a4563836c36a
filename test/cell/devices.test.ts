/** What the region tells one card of a cell, through any of its processors: passed on as it is, and so is the answer. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { deviceHandlers } from '#cell/hosts/devices.ts';
import { PandoError } from '#contracts/errors.ts';
import { digestOf } from '#contracts/network-digest.ts';
import type { DeviceTransaction, NetworkDevice, NetworkObject } from '#contracts/network-objects.ts';
import { CellDevice, type PushStream } from '#region/devices.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { TestCell, type TestProcessor, until } from './support/harness.ts';

let setup: TestCell;
let device: CellDevice;
const hosts: SimHost[] = [];

const streamTo = ({ cell }: TestProcessor): PushStream<never> => {
  const handlers = deviceHandlers(() => cell.services) as unknown as Record<
    string,
    (params: never) => Promise<unknown>
  >;
  const call = async (method: string, params: unknown) =>
    JSON.parse(JSON.stringify((await handlers[method]?.(JSON.parse(JSON.stringify(params)) as never)) ?? {}));
  return { closed: false, call } as unknown as PushStream<never>;
};

before(async () => {
  setup = await TestCell.start();
  for (let n = 0; n < 2; n++) hosts.push(setup.addHost());
  device = new CellDevice('cell-1', 1);
  device.join(streamTo(await setup.addProcessor()));
});
after(() => setup.stop());

const fleetOf = (version: number, mtu: number): NetworkObject => {
  const named = { kind: 'fleet' as const, id: 'fleet', body: { mtu } };
  return { ...named, version, digest: digestOf(named) };
};

/** From one to the other, both named. */
const change = (from: NetworkObject | undefined, to: NetworkObject): DeviceTransaction => ({
  objects: [{ kind: 'fleet', id: 'fleet', from: from?.digest ?? null, to }],
  places: [],
});

const cardOf = (host: SimHost): NetworkDevice => device.device(`card/${host.card.vtep}`);
const mtuOf = ({ card }: SimHost): unknown => card.fleet.get('fleet/fleet')?.current?.body;

test('a transaction goes to the card that it names, and to no other; what the card has is answered', async () => {
  const [one, other] = hosts;
  assert.ok(one !== undefined && other !== undefined);
  const first = fleetOf(1, 1_400);
  const answer = await cardOf(one).transact(change(undefined, first));
  assert.equal(answer.objects[0]?.current?.digest, first.digest);
  assert.deepEqual([mtuOf(one), mtuOf(other)], [{ mtu: 1_400 }, undefined]);
  const has = await cardOf(one).objects();
  assert.equal(has.objects.find(({ kind }) => kind === 'fleet')?.current?.digest, first.digest);
});

test('what is not confirmed the card takes back by itself; what is confirmed stays', async () => {
  const [one] = hosts;
  assert.ok(one !== undefined);
  const [first, second, third] = [fleetOf(1, 1_400), fleetOf(2, 1_300), fleetOf(3, 1_350)];
  await cardOf(one).transact({ ...change(first, second), transactionId: 't-1', confirmWithinMs: 1_000 });
  assert.deepEqual(mtuOf(one), { mtu: 1_300 });
  await until('it took it back', () => JSON.stringify(mtuOf(one)) === '{"mtu":1400}');
  await cardOf(one).transact({ ...change(first, third), transactionId: 't-2', confirmWithinMs: 600_000 });
  await cardOf(one).confirm('t-2');
  assert.deepEqual(mtuOf(one), { mtu: 1_350 });
});

test('a refusal of the card is the answer: one whose state is not the first says so, and has what it had', async () => {
  const [one] = hosts;
  assert.ok(one !== undefined);
  const before = mtuOf(one);
  await assert.rejects(
    cardOf(one).transact(change(fleetOf(9, 1_111), fleetOf(10, 1_200))),
    (error: unknown) => {
      assert.ok(error instanceof PandoError);
      assert.notEqual(error.code, 'InternalError');
      assert.notEqual(error.code, 'HostUnreachable');
      return true;
    },
  );
  assert.deepEqual(mtuOf(one), before);
});

test('a card that is no host’s of this cell, or not connected, is refused by name', async () => {
  for (const deviceId of ['card/192.0.2.99', 'gateway/192.0.2.1', 'card', 'x'])
    await assert.rejects(device.device(deviceId).objects(), { code: 'NotFound' });
  const away = new CellDevice('cell-1', 1);
  away.join(streamTo(await setup.addProcessor({ hosts: [] })));
  const [one] = hosts;
  await assert.rejects(away.device(`card/${one?.card.vtep}`).objects(), { code: 'HostUnreachable' });
});

test('a processor that does not have the host is no answer: another one is asked', async () => {
  const [one] = hosts;
  const both = new CellDevice('cell-1', 1);
  both.join(streamTo(await setup.addProcessor({ hosts: [] })));
  both.join(streamTo(await setup.addProcessor()));
  assert.ok((await both.device(`card/${one?.card.vtep}`).objects()).objects.length > 0);
});
