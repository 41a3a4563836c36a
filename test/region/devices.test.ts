/** Which VPCs the gateway is told, and until when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { cardContract } from '#contracts/card.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';
import type { PlacesDelta } from '#contracts/network-objects.ts';
import { emptyVpcsKeptMax, GatewayDevice, type PushStream } from '#region/devices.ts';
import { Pusher } from '#region/push.ts';
import { SimCard } from '#simhost/card.ts';

const port: VpcPort = {
  ...{ eniId: 'eni-1', instanceId: 'i-1', mac: '06:00:00:00:00:01', ip: '10.0.0.10', subnetId: 'subnet-a' },
  ...{ groupIds: [], sourceDestCheck: true, vtep: '198.51.100.7', epoch: 1 },
};

const stateOf = (vpcId: string, version: number, ports: VpcPort[]): VpcState => ({
  ...{ vpcId, vni: 1, version, cidrs: ['10.0.0.0/16'], subnets: [], groups: [], ports },
  ...{ dnsServers: [], domainName: 'test', mtu: 1450 },
  internetGateway: { id: 'igw-1', vtep: '198.51.100.2', mac: '02:00:00:00:00:02' },
});

/** A gateway that notes what it is told, and a pusher of what `states` says. */
const setUp = async (keptMs?: number) => {
  const told: string[] = [];
  const card = new SimCard('198.51.100.2');
  const call = async (
    method: keyof typeof cardContract,
    params: { places?: PlacesDelta[]; vpcId?: string },
  ) => {
    const answer = card.handle(method, params);
    if (method === 'card.removeVpc') told.push(`remove ${params.vpcId}`);
    for (const { vpcId } of params.places ?? [])
      told.push(`${card.parts.get(vpcId)?.places.entries.size ?? 0} ports`);
    return answer;
  };
  const gateway = new GatewayDevice(keptMs);
  await gateway.join({ closed: false, call } as unknown as PushStream<never>);
  const states = new Map<string, VpcState>();
  const pusher = new Pusher({ compile: async (vpcId) => states.get(vpcId), waitMsMax: 5_000 });
  pusher.add(gateway);
  const push = async (vpcId: string, version: number, ports: VpcPort[]): Promise<void> => {
    states.set(vpcId, stateOf(vpcId, version, ports));
    await pusher.push(vpcId);
  };
  return { told, push, gateway };
};

test('a gateway is not told a VPC that has had no placed port', async () => {
  const { told, push } = await setUp();
  await push('vpc-1', 1, []);
  await push('vpc-1', 2, [{ ...port, vtep: undefined }]);
  assert.deepEqual(told, []);
});

test('a gateway that serves a VPC is told that its last port has left, and keeps it for the next one', async () => {
  const { told, push } = await setUp();
  await push('vpc-1', 1, [port]);
  await push('vpc-1', 2, []);
  await push('vpc-1', 2, []);
  await push('vpc-1', 3, [port]);
  assert.deepEqual(told, ['1 ports', '0 ports', '1 ports']);
});

test('a VPC that stays without ports is removed from the gateway, and is new to it after that', async () => {
  const { told, push } = await setUp(20);
  await push('vpc-1', 1, [port]);
  await push('vpc-1', 2, []);
  const deadline = performance.now() + 10_000;
  while (told.length < 3 && performance.now() < deadline) {
    await pause(5);
    await push('vpc-1', 2, []);
  }
  await push('vpc-1', 2, []);
  assert.deepEqual(told, ['1 ports', '0 ports', 'remove vpc-1']);
});

test(`above ${emptyVpcsKeptMax} empty VPCs, the one that has been empty longest goes`, async () => {
  const { told, push, gateway } = await setUp();
  const ids = Array.from({ length: emptyVpcsKeptMax + 1 }, (_, at) => `vpc-${at}`);
  for (const id of ids) await push(id, 1, [port]);
  for (const id of ids) await push(id, 2, []);
  for (const id of ids) await push(id, 2, []);
  assert.deepEqual(
    told.filter((each) => each.startsWith('remove')),
    ['remove vpc-0'],
  );
  assert.equal(gateway.wants(stateOf('vpc-1', 2, [])), true);
});
