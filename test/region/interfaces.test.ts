import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { sql } from 'kysely';
import { newCellId, newId } from '#contracts/ids.ts';
import type { VpcState } from '#contracts/network.ts';
import { changeInterface } from '#region/interface-changes.ts';
import {
  allocateInterface,
  interfacesOf,
  placeInterface,
  releaseInterface,
  vpcStateOf,
} from '#region/interfaces.ts';
import { resolveLaunch } from '#region/launch.ts';
import { type Client, cellNumber, startTestRegion, type TestRegion } from './test-region.ts';

let region: TestRegion;
let alice: Client;

before(async () => {
  region = await startTestRegion({ limits: { vpcsPerAccountMax: 1_000 }, privateRestMs: 3_600_000 });
  alice = await region.account();
});
after(() => region.stop());

const newSubnet = async (prefix = 28): Promise<{ vpcId: string; subnetId: string }> => {
  const vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  const subnet = await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: `10.0.0.0/${prefix}` });
  return { vpcId, subnetId: subnet.Subnet?.SubnetId ?? '' };
};

/** An image record, without the file behind it. */
const anImage = async (): Promise<string> => {
  const imageId = newId('image');
  await region.region.db
    .insertInto('image')
    .values({
      image_id: imageId,
      account_id: alice.accountId,
      ...{
        name: imageId,
        description: null,
        digest: 'd',
        location: 'l',
        is_public: false,
        architecture: 'x86_64',
      },
      ...{ boot_mode: 'legacy-bios', min_memory_mib: 1, disk_virtual_mib: 1, root_device_name: '/dev/xvda' },
      imds_support: null,
    })
    .execute();
  return imageId;
};

const endRest = (subnetId: string) =>
  sql`update resting_address set until = now() - interval '1 second' where subnet_id = ${subnetId}`.execute(
    region.region.db,
  );

test('addresses from the lowest free one, unique under races, until the subnet is full', async () => {
  const { subnetId } = await newSubnet();
  const many = await Promise.allSettled(Array.from({ length: 14 }, () => alice.launch({ subnetId })));
  const given = many.flatMap((one) => (one.status === 'fulfilled' ? [one.value.ip] : []));
  const expected = Array.from({ length: 11 }, (_, n) => `10.0.0.${n + 4}`);
  assert.deepEqual(
    given.sort((a, b) => Number(a.split('.')[3]) - Number(b.split('.')[3])),
    expected,
  );
  for (const one of many)
    if (one.status === 'rejected') assert.equal(one.reason.code, 'InsufficientFreeAddressesInSubnet');
  const seen = await alice.call('DescribeSubnets', { SubnetIds: [subnetId] });
  assert.equal(seen.Subnets?.[0]?.AvailableIpAddressCount, 0);
  const enis = await alice.call('DescribeNetworkInterfaces', {
    Filters: [{ Name: 'subnet-id', Values: [subnetId] }],
  });
  assert.equal(new Set(enis.NetworkInterfaces?.map((eni) => eni.MacAddress)).size, 11);
  for (const eni of enis.NetworkInterfaces ?? []) assert.match(eni.MacAddress ?? '', /^02(:[0-9a-f]{2}){5}$/);
});

test('property: the allocator agrees with a model under allocate, release, rest and its end', async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.constant({ kind: 'allocate' as const }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('release' as const), at: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'restEnds' as const }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('wanted' as const), host: fc.integer({ min: 0, max: 17 }) }),
    },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
      const { subnetId } = await newSubnet();
      const taken = new Map<number, string>();
      // In the order of their release: the first has rested longest.
      const resting = new Set<number>();
      const next = (): number | undefined =>
        Array.from({ length: 11 }, (_, n) => n + 4).find((host) => !taken.has(host) && !resting.has(host)) ??
        [...resting][0];
      for (const one of steps) {
        if (one.kind === 'allocate') {
          const expected = next();
          if (expected === undefined) {
            await assert.rejects(alice.launch({ subnetId }), { code: 'InsufficientFreeAddressesInSubnet' });
            continue;
          }
          const made = await alice.launch({ subnetId });
          assert.equal(made.ip, `10.0.0.${expected}`);
          taken.set(expected, made.instanceId);
          resting.delete(expected);
        } else if (one.kind === 'release') {
          const [host, instanceId] = [...taken][one.at % Math.max(1, taken.size)] ?? [];
          if (host === undefined || instanceId === undefined) continue;
          await releaseInterface(region.region, instanceId);
          taken.delete(host);
          resting.add(host);
        } else if (one.kind === 'restEnds') {
          await endRest(subnetId);
          resting.clear();
        } else {
          const attempt = alice.launch({ subnetId, privateIp: `10.0.0.${one.host}` });
          if (one.host < 4 || one.host > 14)
            await assert.rejects(attempt, {
              code: 'InvalidParameterValue',
              message: one.host > 15 ? /does not fall within the subnet's/ : /in subnet's reserved/,
            });
          else if (taken.has(one.host)) await assert.rejects(attempt, { code: 'InvalidIPAddress.InUse' });
          else {
            taken.set(one.host, (await attempt).instanceId);
            resting.delete(one.host);
          }
        }
        const seen = await alice.call('DescribeSubnets', { SubnetIds: [subnetId] });
        assert.equal(seen.Subnets?.[0]?.AvailableIpAddressCount, 11 - taken.size);
      }
    }),
    { numRuns: 15 },
  );
});

/** Records what it is told, as the cells' card would have it. */
const recorder = () => {
  const told: VpcState[] = [];
  return {
    told,
    device: {
      name: 'recorder',
      wants: () => true,
      apply: async (state: VpcState) => {
        told.push(state);
        return [];
      },
      remove: async () => undefined,
    },
  };
};

test('a subnet that has just been emptied is full again at once, and devices hear of each end first', async () => {
  const { vpcId, subnetId } = await newSubnet();
  const former = await Promise.all(Array.from({ length: 11 }, () => alice.launch({ subnetId })));
  for (const { instanceId } of former) await releaseInterface(region.region, instanceId);
  const free = await resolveLaunch(region.region, {
    ...{ accountId: alice.accountId, imageId: await anImage(), subnetId, groupIds: [], groupNames: [] },
    count: 11,
  });
  assert.equal(free.freeAddresses, 11);
  const { told, device } = recorder();
  region.region.pusher.add(device);
  try {
    const made = await Promise.all(Array.from({ length: 11 }, () => alice.launch({ subnetId })));
    assert.equal(new Set(made.map(({ ip }) => ip)).size, 11);
    await assert.rejects(alice.launch({ subnetId }), { code: 'InsufficientFreeAddressesInSubnet' });
    assert.equal(told[0]?.vpcId, vpcId);
    assert.deepEqual(
      told[0]?.ports,
      [],
      'the former holders are gone before the first address has a new one',
    );
  } finally {
    region.region.pusher.drop(device);
  }
});

test('an address asked for by name rests like any other: it is given once devices know of its former end', async () => {
  const { subnetId } = await newSubnet();
  const privateIp = '10.0.0.9';
  const former = await alice.launch({ subnetId, privateIp });
  await releaseInterface(region.region, former.instanceId);
  for (let host = 4; host < 9; host++) assert.equal((await alice.launch({ subnetId })).ip, `10.0.0.${host}`);
  assert.equal((await alice.launch({ subnetId })).ip, '10.0.0.10', 'it rests: others are preferred');
  const { told, device } = recorder();
  region.region.pusher.add(device);
  try {
    assert.equal((await alice.launch({ subnetId, privateIp })).ip, privateIp);
    assert.equal(told.length, 1);
    assert.ok(!told[0]?.ports.some(({ ip }) => ip === privateIp));
    await assert.rejects(alice.launch({ subnetId, privateIp }), { code: 'InvalidIPAddress.InUse' });
  } finally {
    region.region.pusher.drop(device);
  }
});

test('a region process of the last release gets a resting address by the function that it knows', async () => {
  const { subnetId } = await newSubnet();
  const former = await alice.launch({ subnetId });
  await releaseInterface(region.region, former.instanceId);
  const instanceId = newCellId('instance', cellNumber);
  const { rows } = await sql<{ status: string }>`
    select allocate_interface(${alice.accountId}, ${instanceId}, ${subnetId}, array[]::text[], 4, true,
      ${newId('networkInterface')}, ${newId('interfaceAttachment')}, '02:00:00:00:00:09',
      ${newId('addressAssociation')}, 4096) as status`.execute(region.region.db);
  assert.equal(rows[0]?.status, 'ok');
  const made = await region.region.db
    .selectFrom('eni')
    .select(['ip', 'auto_public'])
    .where('instance_id', '=', instanceId)
    .executeTakeFirst();
  assert.deepEqual(made, { ip: former.ip, auto_public: true });
});

test('the same instance gets the same interface again, also at once', async () => {
  const { subnetId, vpcId } = await newSubnet();
  const instanceId = newCellId('instance', cellNumber);
  const all = await Promise.all(
    Array.from({ length: 6 }, () => alice.launch({ subnetId, instanceId, publicIp: true })),
  );
  assert.equal(new Set(all.map((one) => `${one.eniId} ${one.ip} ${one.publicIp}`)).size, 1);
  assert.equal((await vpcStateOf(region.region, vpcId)).ports.length, 1);
  await releaseInterface(region.region, instanceId);
  await releaseInterface(region.region, instanceId);
  assert.equal((await vpcStateOf(region.region, vpcId)).ports.length, 0);
});

test('placing is a compare-and-set on the epoch, and every change raises the version', async () => {
  const { subnetId, vpcId } = await newSubnet();
  const { eniId } = await alice.launch({ subnetId });
  const place = async (vtep: string | undefined, epoch: number) => {
    const { state } = await placeInterface(region.region, { eniId, vtep, epoch });
    assert.ok(state !== undefined);
    return { state };
  };
  const first = await place('198.18.1.11', 1);
  assert.equal(first.state.ports[0]?.vtep, '198.18.1.11');
  assert.equal(
    (await place('198.18.1.11', 1)).state.version,
    first.state.version,
    'a repeat changes nothing',
  );
  await assert.rejects(place('198.18.1.12', 1), { code: 'StaleEpoch' });
  const moved = await place('198.18.1.12', 3);
  assert.ok(moved.state.version > first.state.version);
  await assert.rejects(place('198.18.1.11', 2), { code: 'StaleEpoch' });
  const told = await placeInterface(region.region, {
    eniId,
    vtep: '198.18.1.12',
    epoch: 3,
    withoutState: true,
  });
  assert.deepEqual(told, { unreachable: [] });
  const stopped = await place(undefined, 4);
  assert.equal(stopped.state.ports[0]?.vtep, undefined);
  assert.equal(stopped.state.vpcId, vpcId);
  await assert.rejects(placeInterface(region.region, { eniId: 'eni-00000000000000000', epoch: 1 }), {
    code: 'InvalidNetworkInterfaceID.NotFound',
  });
});

test('an interface as EC2 shows it in an instance; of other accounts nothing', async () => {
  const { subnetId } = await newSubnet();
  const made = await alice.launch({ subnetId, publicIp: true });
  const shown = await interfacesOf(region.region, alice.accountId, [made.instanceId]);
  const [eni] = shown[made.instanceId] as Record<string, unknown>[];
  assert.equal(eni?.NetworkInterfaceId, made.eniId);
  assert.equal(eni?.PrivateDnsName, undefined, 'the attributes of a new VPC give no names');
  assert.deepEqual(eni?.Association, { PublicIp: made.publicIp, PublicDnsName: '', IpOwnerId: 'amazon' });
  assert.deepEqual(
    (eni?.Groups as { GroupName: string }[] | undefined)?.map((group) => group.GroupName),
    ['default'],
  );
  assert.deepEqual(await interfacesOf(region.region, '123456789012', [made.instanceId]), {});
  await releaseInterface(region.region, made.instanceId);
});

test('what a launch is told of its interface is what is shown of it afterwards, also when it asks again', async () => {
  const { vpcId, subnetId } = await newSubnet();
  await alice.call('ModifyVpcAttribute', { VpcId: vpcId, EnableDnsHostnames: { Value: true } });
  const instanceId = newCellId('instance', cellNumber);
  const request = { accountId: alice.accountId, instanceId, subnetId, groupIds: [], publicIp: false };
  const first = await allocateInterface(region.region, { ...request, shown: true });
  const again = await allocateInterface(region.region, { ...request, shown: true });
  const { [instanceId]: shown } = await interfacesOf(region.region, alice.accountId, [instanceId]);
  const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
  assert.equal(shown?.length, 1);
  assert.deepEqual(plain(first.shown), plain(shown));
  assert.deepEqual(plain(again.shown), plain(shown));
  assert.equal((await allocateInterface(region.region, request)).shown, undefined, 'not asked for');
  await releaseInterface(region.region, instanceId);
});

test('a subnet with an interface, or a group that one carries, cannot be deleted', async () => {
  const { subnetId, vpcId } = await newSubnet();
  const groupId =
    (await alice.call('CreateSecurityGroup', { VpcId: vpcId, GroupName: 'g', Description: 'd' })).GroupId ??
    '';
  const { instanceId } = await alice.launch({ subnetId, groupIds: [groupId] });
  await assert.rejects(alice.call('DeleteSubnet', { SubnetId: subnetId }), { code: 'DependencyViolation' });
  await assert.rejects(alice.call('DeleteSecurityGroup', { GroupId: groupId }), {
    code: 'DependencyViolation',
  });
  await releaseInterface(region.region, instanceId);
  await alice.call('DeleteSecurityGroup', { GroupId: groupId });
  await alice.call('DeleteSubnet', { SubnetId: subnetId });
});

test('groups of another network are refused', async () => {
  const { subnetId } = await newSubnet();
  const other = await newSubnet();
  const groupId =
    (await alice.call('CreateSecurityGroup', { VpcId: other.vpcId, GroupName: 'g', Description: 'd' }))
      .GroupId ?? '';
  await assert.rejects(alice.launch({ subnetId, groupIds: [groupId] }), { code: 'InvalidGroup.NotFound' });
});

test('an interface changes groups, source check and description under its VPC; its tags come and go with it', async () => {
  const { vpcId, subnetId } = await newSubnet();
  const instanceId = newCellId('instance', cellNumber);
  const request = { accountId: alice.accountId, instanceId, subnetId, groupIds: [], publicIp: false };
  const tags = [{ Key: 'k', Value: 'v' }];
  const first = await allocateInterface(region.region, { ...request, description: 'first', tags });
  const again = await allocateInterface(region.region, { ...request, description: 'other', tags: [] });
  assert.deepEqual(again, first, 'the same instance gives the same interface');
  const { eniId } = first.port;
  const NetworkInterfaceIds = [eniId];
  const shown = async () =>
    (await alice.call('DescribeNetworkInterfaces', { NetworkInterfaceIds })).NetworkInterfaces?.[0];
  assert.deepEqual([(await shown())?.Description, (await shown())?.TagSet], ['first', tags]);

  const make = async (GroupName: string) =>
    (await alice.call('CreateSecurityGroup', { GroupName, Description: 'd', VpcId: vpcId })).GroupId ?? '';
  const group = await make('one');
  const actor = { region: region.region, accountId: alice.accountId };
  const before = (await vpcStateOf(region.region, vpcId)).version;
  const changed = await changeInterface(actor, { instanceId }, { groupIds: [group, group] }, false);
  assert.deepEqual(changed.groups, [{ groupId: group, groupName: 'one' }]);
  assert.ok(changed.version > before);
  await alice.call('ModifyNetworkInterfaceAttribute', {
    NetworkInterfaceId: eniId,
    SourceDestCheck: { Value: false },
  });
  await alice.call('ModifyNetworkInterfaceAttribute', {
    NetworkInterfaceId: eniId,
    Description: { Value: 'new' },
  });
  const [port] = (await vpcStateOf(region.region, vpcId)).ports;
  assert.deepEqual([port?.groupIds, port?.sourceDestCheck], [[group], false]);
  const described = await alice.call('DescribeNetworkInterfaceAttribute', {
    NetworkInterfaceId: eniId,
    Attribute: 'description',
  });
  assert.equal(described.Description?.Value, 'new');
  const both = { Groups: [group], SourceDestCheck: { Value: true } };
  await assert.rejects(
    alice.call('ModifyNetworkInterfaceAttribute', { NetworkInterfaceId: eniId, ...both }),
    {
      code: 'InvalidParameterCombination',
    },
  );
  await assert.rejects(changeInterface(actor, { instanceId }, { groupIds: [] }, false), {
    code: 'InvalidParameterValue',
  });
  const stranger = { ...actor, accountId: (await region.account()).accountId };
  await assert.rejects(changeInterface(stranger, { instanceId }, { sourceDestCheck: true }, false), {
    code: 'InvalidNetworkInterfaceID.NotFound',
  });
  // A group cannot go while an interface takes it on: one of the two is refused, whichever comes first.
  const raced = await make('raced');
  await Promise.allSettled([
    changeInterface(actor, { instanceId }, { groupIds: [raced] }, false),
    alice.call('DeleteSecurityGroup', { GroupId: raced }),
  ]);
  const { groups, ports } = await vpcStateOf(region.region, vpcId);
  for (const id of ports[0]?.groupIds ?? []) assert.ok(groups.some(({ groupId }) => groupId === id));
  await releaseInterface(region.region, instanceId);
  const left = await alice.call('DescribeTags', { Filters: [{ Name: 'resource-id', Values: [eniId] }] });
  assert.deepEqual(left.Tags, []);
});
