/** Two processes of one region on one store: what is changed through one reaches devices that are connected to the other. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { pino } from 'pino';
import { PandoError } from '#contracts/errors.ts';
import type { ObjectChange, PlacesDelta } from '#contracts/network-objects.ts';
import { joinCell, leave } from '#region/cells.ts';
import type { PushStream } from '#region/devices.ts';
import { placeInterface } from '#region/interfaces.ts';
import { Replicas } from '#region/replicas.ts';
import { SimCard } from '#simhost/card.ts';
import { until } from '../cell/support/harness.ts';
import { type Client, cellNumber, startTestRegion, type TestRegion } from './test-region.ts';

const cell = {
  ...{ cellId: 'c-1', number: cellNumber, zone: 'test-1a', state: 'active' as const },
  processors: ['127.0.0.1:1'],
};

/** A processor of the cell whose only host is `card`. */
const processorOf = (card: SimCard): PushStream<never> => {
  const call = async (method: string, params: { objects: ObjectChange[]; places: PlacesDelta }) => {
    if (method === 'cell.objects') return card.handle('card.objects', params);
    if (method !== 'cell.applyParts') throw new PandoError('InvalidAction', `no ${method} here`);
    const has = card.handle('card.transact', { objects: params.objects, places: [params.places] });
    return { has, unreachable: [] };
  };
  return { closed: false, call } as unknown as PushStream<never>;
};

let first: TestRegion;
let second: TestRegion;
let alice: Client;
/** Alice, by the other process. */
let there: Client;

before(async () => {
  first = await startTestRegion({ pushWaitMsMax: 5_000 });
  second = await startTestRegion({ pushWaitMsMax: 5_000 }, first);
  alice = await first.account();
  there = second.as(alice);
});
after(async () => {
  await second.stop();
  await first.stop();
});

test('a change that was made by one process is on devices of the other when its call returns', async () => {
  const card = new SimCard('198.51.100.7');
  const stream = processorOf(card);
  await joinCell(second.region, cell, stream);
  // What the first process knows of the others it hears through the store.
  await until('the first process heard of the cell', () => first.region.cells.has(cell.cellId));
  assert.equal(first.region.cells.get(cell.cellId)?.connected, 0);
  const { vpcId, eniId } = await alice.launch();
  const placed = await placeInterface(first.region, { eniId, epoch: 2, vtep: card.vtep });
  assert.deepEqual(placed.unreachable, []);
  assert.equal(card.parts.get(vpcId)?.places.entries.get(eniId)?.port.vtep, card.vtep);

  const { SecurityGroups } = await alice.call('DescribeSecurityGroups', {});
  const GroupId = SecurityGroups?.[0]?.GroupId ?? '';
  const rule = (port: number) => ({
    GroupId,
    IpPermissions: [
      { IpProtocol: 'tcp', FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '192.0.2.0/24' }] },
    ],
  });
  const ports = () =>
    card.vpcs.get(vpcId)?.groups.flatMap(({ ingress }) => ingress.map(({ fromPort }) => fromPort));
  await alice.call('AuthorizeSecurityGroupIngress', rule(2001));
  assert.ok(ports()?.includes(2001), 'a change by the process that does not have the card');
  await there.call('AuthorizeSecurityGroupIngress', rule(2002));
  assert.ok(ports()?.includes(2002), 'a change by the process that has it');
  // From both at once: whichever comes last has both.
  await Promise.all([
    alice.call('AuthorizeSecurityGroupIngress', rule(2003)),
    there.call('AuthorizeSecurityGroupIngress', rule(2004)),
  ]);
  assert.ok(ports()?.includes(2003));
  assert.ok(ports()?.includes(2004));

  // The cell goes from one process to the other.
  leave(second.region, stream);
  await joinCell(first.region, cell, stream);
  await until('the second process heard of it', async () => {
    const { unreachable = ['no state'] } = (await second.region.pusher.push(vpcId)) ?? {};
    return unreachable.length === 0;
  });
  await there.call('AuthorizeSecurityGroupIngress', rule(2005));
  assert.ok(ports()?.includes(2005), 'the cell is the first process’s now');
  leave(first.region, stream);
  await until('neither has it', async () => {
    second.region.pusher.forget(second.region.cells.get(cell.cellId) ?? assert.fail());
    return (await second.region.pusher.push(vpcId))?.unreachable.join() === `cell ${cell.cellId}`;
  });
});

/** Processes that hear each other at once. */
const busOf = (names: readonly string[], waitMsMax: number) => {
  const sent: string[] = [];
  const heard: Replicas[] = [];
  const asked: string[] = [];
  let version = 1;
  const replicas = names.map((device) => {
    const one = new Replicas({
      log: pino({ level: 'silent' }),
      waitMsMax,
      notify: async (payload) => {
        sent.push(payload);
        for (const each of heard) each.heard(payload);
      },
      connected: () => (device === '' ? [] : [device]),
      push: async (vpcId) => {
        asked.push(vpcId);
        return { state: { vpcId, version } as never, here: [device], unreachable: [] };
      },
      onDevices: () => undefined,
      onMissed: () => undefined,
    });
    heard.push(one);
    return one;
  });
  const setVersion = (next: number): void => {
    version = next;
  };
  return { replicas, sent, asked, setVersion };
};

test('a device that no other process has is not asked for, and nobody is notified', async () => {
  const { replicas, sent } = busOf(['', 'b'], 60_000);
  assert.equal(replicas[0]?.tell('b', 'vpc-1', 1), undefined);
  assert.deepEqual(sent, []);
  await replicas[1]?.say();
  assert.deepEqual(await replicas[0]?.tell('b', 'vpc-1', 1), []);
  await replicas[1]?.stop();
  assert.equal(replicas[0]?.tell('b', 'vpc-1', 1), undefined, 'the process that had it is gone');
});

test('an older state than was asked for is no answer: it is waited for the newer one, and not for ever', async () => {
  const { replicas, setVersion } = busOf(['', 'b'], 50);
  await replicas[1]?.say();
  await assert.rejects(replicas[0]?.tell('b', 'vpc-1', 2) ?? assert.fail(), /not told in time/);
  setVersion(2);
  assert.deepEqual(await replicas[0]?.tell('b', 'vpc-1', 2), []);
});

test('many changes of one VPC at once are one notice', async () => {
  const { replicas, sent, asked } = busOf(['', 'b'], 60_000);
  await replicas[1]?.say();
  sent.length = 0;
  await Promise.all(Array.from({ length: 50 }, () => replicas[0]?.tell('b', 'vpc-1', 1)));
  assert.deepEqual(asked, ['vpc-1']);
  assert.equal(sent.length, 2, 'the change, and what came of it');
});

test('a notice that is none is passed over', async () => {
  const { replicas, asked } = busOf(['', 'b'], 60_000);
  for (const bad of ['', 'x', '{}', '{"kind":"changed","from":"z"}', '{"kind":"told"}', '[]'])
    replicas[1]?.heard(bad);
  await turn();
  assert.deepEqual(asked, []);
});
