/** A VPC at every limit of EC2's defaults: what a change of it costs, counted in messages and bytes, and that nobody else waits. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { placeInterface } from '#region/interfaces.ts';
import { connectFleet, fillVpc, type LargeVpc, NetworkFleet, vtepOf } from './network-fleet.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

const cards = 40;
let region: TestRegion;
let alice: Client;
let vpc: LargeVpc;
let disconnect: () => void;
const fleet = new NetworkFleet(cards, false);

before(async () => {
  region = await startTestRegion({ pushWaitMsMax: 30_000 });
  alice = await region.account();
  vpc = await fillVpc(region, alice, {
    ...{ interfaces: 4_096, cards, groups: 5, groupsPerInterface: 5, rules: 59, routes: 199 },
  });
  disconnect = await connectFleet(region, fleet);
  await region.region.pusher.push(vpc.vpcId);
});
after(() => region.stop());

const addRule = (GroupId: string | undefined, port: number) =>
  alice.call('AuthorizeSecurityGroupIngress', {
    GroupId,
    IpPermissions: [
      { IpProtocol: 'tcp', FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '192.0.2.0/24' }] },
    ],
  });

test('a rule of it is one message to each card, with that group alone, and enforced on all when the call returns', async () => {
  assert.equal(fleet.onCards(vpc.vpcId).length, cards);
  fleet.clear();
  await addRule(vpc.groupIds[0], 40_001);
  for (const { groups } of fleet.onCards(vpc.vpcId)) {
    const own = groups.find(({ groupId }) => groupId === vpc.groupIds[0]);
    assert.ok(own?.ingress.some(({ fromPort }) => fromPort === 40_001));
  }
  assert.equal(fleet.toCell.messages, 1);
  assert.equal(fleet.toCards.messages, cards);
  const group = JSON.stringify(
    fleet.onCards(vpc.vpcId)[0]?.groups.find((one) => one.groupId === vpc.groupIds[0]),
  );
  assert.ok(
    fleet.toCards.bytes < cards * (group.length + 1_000),
    `${fleet.toCards.bytes / cards} bytes a card, of which ${group.length} are the group`,
  );
});

test('a place of it is one message to each card, with that place alone', async () => {
  const { eni_id: eniId } = await region.region.db
    .selectFrom('eni')
    .select('eni_id')
    .where('vpc_id', '=', vpc.vpcId)
    .executeTakeFirstOrThrow();
  fleet.clear();
  await placeInterface(region.region, { eniId, epoch: 7, vtep: vtepOf(3), withoutState: true });
  assert.equal(fleet.toCards.messages, cards);
  assert.ok(fleet.toCards.bytes < cards * 1_500, `${fleet.toCards.bytes / cards} bytes a card`);
});

test('a launch elsewhere does not wait for it: it is through while no card has answered', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const others = await region.account();
  const { eniId } = await others.launch();
  fleet.hold = promise;
  const changed = addRule(vpc.groupIds[1], 40_002);
  let isOver = false;
  void changed.then(() => {
    isOver = true;
  });
  // Its own devices are the fleet's cards too; what it waits for is the store alone.
  const launched = await others.launch();
  assert.notEqual(launched.eniId, eniId);
  assert.equal(isOver, false);
  resolve();
  fleet.hold = undefined;
  await changed;
});

test('whole documents, as peers of the last release are told, take more than fifty times the bytes', async (t) => {
  fleet.clear();
  await addRule(vpc.groupIds[2], 40_003);
  const { bytes } = fleet;
  disconnect();
  const former = new NetworkFleet(cards, true);
  await connectFleet(region, former);
  await region.region.pusher.push(vpc.vpcId);
  former.clear();
  await addRule(vpc.groupIds[3], 40_004);
  assert.equal(former.toCards.messages, cards);
  assert.ok(former.onCards(vpc.vpcId).every(({ groups }) => JSON.stringify(groups).includes('40004')));
  t.diagnostic(`a rule: ${bytes} bytes in parts, ${former.bytes} in whole documents`);
  assert.ok(former.bytes > 50 * bytes, `${former.bytes} bytes, not ${bytes}`);
});
