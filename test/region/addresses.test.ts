import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sql } from 'kysely';
import { placeInterface, releaseInterface, vpcStateOf } from '#region/interfaces.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

let region: TestRegion;
let alice: Client;
let mallory: Client;
const poolSize = 16;

before(async () => {
  region = await startTestRegion();
  alice = await region.account();
  mallory = await region.account();
});
after(() => region.stop());

const allocate = async (client = alice) => {
  const made = await client.call('AllocateAddress', { Domain: 'vpc' });
  return { ip: made.PublicIp ?? '', id: made.AllocationId ?? '' };
};

/** I6, and that every address is in one hand at most: checked after each test. */
const checkInvariant = async () => {
  const { rows } = await sql<{ twice: number; orphans: number }>`
    select (select count(*) from (select eni_id from public_address where eni_id is not null group by 1 having count(*) > 1) t) as twice,
      (select count(*) from public_address where account_id is null and (eni_id is not null or allocation_id is not null)) as orphans`.execute(
    region.region.db,
  );
  assert.deepEqual(rows[0], { twice: 0, orphans: 0 });
};

test('a pool is given out without repeats, then AddressLimitExceeded; a freed address rests while there are others', async () => {
  const all = await Promise.allSettled(Array.from({ length: poolSize + 3 }, () => allocate()));
  const got = all.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  assert.equal(new Set(got.map((one) => one.ip)).size, poolSize);
  for (const one of all) if (one.status === 'rejected') assert.equal(one.reason.code, 'AddressLimitExceeded');
  const rest = (ip: string | undefined, minutes: number) =>
    sql`update public_address set rests_until = now() + ${minutes} * interval '1 minute' where ip = ${ip}`.execute(
      region.region.db,
    );
  const [low, middle, high] = [got[0], got[1], got[2]];
  for (const each of [low, middle, high]) await alice.call('ReleaseAddress', { AllocationId: each?.id });
  await rest(low?.ip, 60);
  await rest(middle?.ip, 30);
  await rest(high?.ip, -1);
  assert.equal((await allocate()).ip, high?.ip, 'the one that has rested');
  assert.equal((await allocate()).ip, middle?.ip, 'the one that has rested longest');
  assert.equal((await allocate()).ip, low?.ip);
  await assert.rejects(allocate(), { code: 'AddressLimitExceeded' });
  for (const address of (await alice.call('DescribeAddresses', {})).Addresses ?? [])
    await alice.call('ReleaseAddress', { AllocationId: address.AllocationId });
  await checkInvariant();
});

test('associate, see it everywhere, disassociate, release', async () => {
  const one = await allocate();
  const { instanceId, eniId, vpcId, publicIp } = await alice.launch({ publicIp: true });
  assert.ok(publicIp !== undefined);
  const { AssociationId: associationId } = await alice.call('AssociateAddress', {
    AllocationId: one.id,
    InstanceId: instanceId,
  });
  const port = (await vpcStateOf(region.region, vpcId)).ports.find((each) => each.eniId === eniId);
  assert.equal(port?.publicIp, one.ip, 'the elastic address took the place of the automatic one');
  const { Addresses: seen } = await alice.call('DescribeAddresses', {
    Filters: [{ Name: 'instance-id', Values: [instanceId] }],
  });
  assert.equal(seen?.[0]?.AssociationId, associationId);
  const repeat = await alice.call('AssociateAddress', { AllocationId: one.id, NetworkInterfaceId: eniId });
  assert.equal(repeat.AssociationId, associationId);
  await assert.rejects(alice.call('ReleaseAddress', { AllocationId: one.id }), {
    code: 'InvalidIPAddress.InUse',
  });
  await alice.call('DisassociateAddress', { AssociationId: associationId });
  await assert.rejects(alice.call('DisassociateAddress', { AssociationId: associationId }), {
    code: 'InvalidAssociationID.NotFound',
  });
  await alice.call('ReleaseAddress', { AllocationId: one.id });
  await assert.rejects(alice.call('ReleaseAddress', { AllocationId: one.id }), {
    code: 'InvalidAllocationID.NotFound',
  });
  await releaseInterface(region.region, instanceId);
  await checkInvariant();
});

const disassociate = async (address: { id: string }): Promise<void> => {
  const { Addresses: [seen] = [] } = await alice.call('DescribeAddresses', { AllocationIds: [address.id] });
  await alice.call('DisassociateAddress', { AssociationId: seen?.AssociationId });
};

/** Where a card has it, as after a start; undefined: stopped. */
const place = (eniId: string, epoch: number, vtep: string | undefined = '198.18.1.11') =>
  placeInterface(region.region, { eniId, epoch, vtep });

const publicIpOf = async (machine: { vpcId: string; eniId: string }) =>
  (await vpcStateOf(region.region, machine.vpcId)).ports.find((each) => each.eniId === machine.eniId)
    ?.publicIp;

test('an automatic address comes back at once when the elastic one goes; where none was asked for, none comes', async () => {
  const one = await allocate();
  const automatic = await alice.launch({ publicIp: true });
  const without = await alice.launch();
  for (const each of [automatic, without]) await place(each.eniId, 2);
  for (const each of [automatic, without]) {
    await alice.call('AssociateAddress', { AllocationId: one.id, InstanceId: each.instanceId });
    assert.equal(await publicIpOf(each), one.ip);
  }
  const back = await publicIpOf(automatic);
  assert.ok(back !== undefined && back !== one.ip, 'the address was moved away: an automatic one came back');
  const [eni] =
    (await alice.call('DescribeNetworkInterfaces', { NetworkInterfaceIds: [automatic.eniId] }))
      .NetworkInterfaces ?? [];
  assert.deepEqual([eni?.Association?.PublicIp, eni?.Association?.IpOwnerId], [back, 'amazon']);
  await alice.call('AssociateAddress', { AllocationId: one.id, InstanceId: automatic.instanceId });
  assert.equal(await publicIpOf(without), undefined);
  await disassociate(one);
  assert.notEqual(await publicIpOf(automatic), undefined);
  const { Addresses: left } = await alice.call('DescribeAddresses', { AllocationIds: [one.id] });
  assert.equal(left?.[0]?.AssociationId, undefined, 'the elastic one is free');
  const { Addresses: own } = await alice.call('DescribeAddresses', {});
  assert.deepEqual(
    own?.map((each) => each.PublicIp),
    [one.ip],
    'an automatic address is nobody’s elastic one',
  );
  for (const each of [automatic, without]) await releaseInterface(region.region, each.instanceId);
  await alice.call('ReleaseAddress', { AllocationId: one.id });
  await checkInvariant();
});

test('a stopped instance gets its automatic address when it starts, and devices hear of it', async () => {
  const one = await allocate();
  const machine = await alice.launch({ publicIp: true });
  await place(machine.eniId, 2);
  await alice.call('AssociateAddress', { AllocationId: one.id, InstanceId: machine.instanceId });
  await placeInterface(region.region, { eniId: machine.eniId, epoch: 3 });
  await disassociate(one);
  assert.equal(await publicIpOf(machine), undefined, 'it is stopped');
  const { state } = await place(machine.eniId, 4);
  const given = state?.ports.find(({ eniId }) => eniId === machine.eniId)?.publicIp;
  assert.ok(given !== undefined);
  assert.equal(await publicIpOf(machine), given);
  assert.equal((await place(machine.eniId, 4)).state?.version, state?.version, 'a repeat changes nothing');
  await releaseInterface(region.region, machine.instanceId);
  await alice.call('ReleaseAddress', { AllocationId: one.id });
  await checkInvariant();
});

/*
 * Amazon EC2 User Guide, "Amazon EC2 instance IP addressing": a public IPv4 address is released when its instance is stopped, a new one is
 * assigned when it is started; an elastic address stays with the instance.
 */
test('an automatic address goes back at a stop and rests; the next start brings another; an elastic one stays', async () => {
  const machine = await alice.launch({ publicIp: true });
  await place(machine.eniId, 2);
  const stop = (epoch: number) =>
    placeInterface(region.region, { eniId: machine.eniId, epoch, releaseAutomatic: true });
  const {
    rows: [before],
  } = await sql<{ at: Date }>`select now() as at`.execute(region.region.db);
  const { state } = await stop(3);
  assert.equal(state?.ports.find(({ eniId }) => eniId === machine.eniId)?.publicIp, undefined);
  const [eni] = (await alice.call('DescribeNetworkInterfaces', { NetworkInterfaceIds: [machine.eniId] }))
    .NetworkInterfaces ?? [undefined];
  assert.deepEqual([eni?.Association, eni?.PrivateIpAddresses?.[0]?.Association], [undefined, undefined]);
  const [freed] = await region.region.db
    .selectFrom('public_address')
    .select(['account_id', 'eni_id', 'association_id'])
    .select(sql<boolean>`rests_until >= ${before?.at}`.as('rests'))
    .where('ip', '=', machine.publicIp ?? '')
    .execute();
  assert.deepEqual(freed, { account_id: null, eni_id: null, association_id: null, rests: true });
  await sql`update public_address set rests_until = now() + interval '1 hour' where ip = ${machine.publicIp}`.execute(
    region.region.db,
  );
  const { publicIp: next } = await place(machine.eniId, 4);
  assert.ok(next !== undefined && next !== machine.publicIp, 'there are others: the former one rests');
  const one = await allocate();
  await alice.call('AssociateAddress', { AllocationId: one.id, InstanceId: machine.instanceId });
  assert.equal((await stop(5)).publicIp, one.ip);
  assert.equal((await place(machine.eniId, 6)).publicIp, one.ip);
  await releaseInterface(region.region, machine.instanceId);
  await alice.call('ReleaseAddress', { AllocationId: one.id });
  await checkInvariant();
});

test('an instance that the last release stopped keeps its address, also by its start, until it is stopped again', async () => {
  const machine = await alice.launch({ publicIp: true });
  await place(machine.eniId, 2);
  // As a cell of the last release says it.
  await placeInterface(region.region, { eniId: machine.eniId, epoch: 3 });
  assert.equal(await publicIpOf(machine), machine.publicIp);
  assert.equal((await place(machine.eniId, 4)).publicIp, machine.publicIp);
  await placeInterface(region.region, { eniId: machine.eniId, epoch: 5, releaseAutomatic: true });
  assert.equal(await publicIpOf(machine), undefined);
  await releaseInterface(region.region, machine.instanceId);
  await checkInvariant();
});

test('an elastic address goes, and the pool is empty: the instance goes without', async () => {
  const one = await allocate();
  const machine = await alice.launch({ publicIp: true });
  await place(machine.eniId, 2);
  await alice.call('AssociateAddress', { AllocationId: one.id, InstanceId: machine.instanceId });
  await sql`update public_address set in_pool = false where account_id is null`.execute(region.region.db);
  await disassociate(one);
  assert.equal(await publicIpOf(machine), undefined);
  await sql`update public_address set in_pool = true`.execute(region.region.db);
  await releaseInterface(region.region, machine.instanceId);
  await alice.call('ReleaseAddress', { AllocationId: one.id });
  await checkInvariant();
});

test('reassociation moves the address, unless it is forbidden', async () => {
  const one = await allocate();
  const [a, b] = [await alice.launch(), await alice.launch()];
  await alice.call('AssociateAddress', { AllocationId: one.id, InstanceId: a.instanceId });
  await assert.rejects(
    alice.call('AssociateAddress', {
      AllocationId: one.id,
      InstanceId: b.instanceId,
      AllowReassociation: false,
    }),
    { code: 'Resource.AlreadyAssociated' },
  );
  await alice.call('AssociateAddress', { AllocationId: one.id, InstanceId: b.instanceId });
  const ports = (await vpcStateOf(region.region, a.vpcId)).ports.filter((port) => port.publicIp === one.ip);
  assert.deepEqual(
    ports.map((port) => port.eniId),
    [b.eniId],
  );
  await releaseInterface(region.region, b.instanceId);
  const { Addresses: left } = await alice.call('DescribeAddresses', { AllocationIds: [one.id] });
  assert.equal(
    left?.[0]?.AssociationId,
    undefined,
    'terminating the instance leaves the address with its account',
  );
  await checkInvariant();
});

test('I6 under races: one address to many interfaces, many addresses to one interface', async () => {
  const machines = await Promise.all(Array.from({ length: 4 }, () => alice.launch()));
  const addresses = await Promise.all(Array.from({ length: 4 }, () => allocate()));
  for (let round = 0; round < 4; round++) {
    await Promise.allSettled(
      machines.flatMap((machine) =>
        addresses.map((address) =>
          alice.call('AssociateAddress', { AllocationId: address.id, InstanceId: machine.instanceId }),
        ),
      ),
    );
    await checkInvariant();
    const state = await vpcStateOf(region.region, machines[0]?.vpcId ?? '');
    const mapped = state.ports.flatMap((port) => (port.publicIp === undefined ? [] : [port.publicIp]));
    assert.equal(new Set(mapped).size, mapped.length);
  }
  for (const address of addresses) {
    const { Addresses: [seen] = [] } = await alice.call('DescribeAddresses', { PublicIps: [address.ip] });
    if (seen?.AssociationId !== undefined)
      await alice.call('DisassociateAddress', { AssociationId: seen.AssociationId });
    await alice.call('ReleaseAddress', { AllocationId: address.id });
  }
});

test('an address of a VPC goes by its ids; what is no address is told apart from one that is not there', async () => {
  const one = await allocate();
  const invalid = { code: 'InvalidParameterValue' };
  await assert.rejects(alice.call('ReleaseAddress', { PublicIp: one.ip }), {
    ...invalid,
    message: 'You must specify an allocation id when releasing a VPC elastic IP address',
  });
  await assert.rejects(alice.call('DisassociateAddress', { PublicIp: one.ip }), {
    ...invalid,
    message: 'You must specify an association id when unmapping an address from a VPC instance',
  });
  for (const ip of ['foo', '1.2.3', '203.0.113.016', '::1']) {
    await assert.rejects(alice.call('DescribeAddresses', { PublicIps: [ip] }), invalid);
    await assert.rejects(alice.call('ReleaseAddress', { PublicIp: ip }), invalid);
    await assert.rejects(alice.call('DisassociateAddress', { PublicIp: ip }), invalid);
  }
  for (const action of ['ReleaseAddress', 'DisassociateAddress'] as const)
    await assert.rejects(alice.call(action, { PublicIp: '192.0.2.9' }), { code: 'InvalidAddress.NotFound' });
  await assert.rejects(alice.call('AllocateAddress', { Domain: 'xyz' as 'vpc' }), {
    ...invalid,
    message: "Invalid value 'xyz' for domain.",
  });
  for (const NetworkBorderGroup of ['elsewhere'])
    await assert.rejects(alice.call('ReleaseAddress', { AllocationId: one.id, NetworkBorderGroup }), invalid);
  await alice.call('ReleaseAddress', { AllocationId: one.id, NetworkBorderGroup: 'test-1' });
});

test('addresses and interfaces of other accounts are not found', async () => {
  const one = await allocate(mallory);
  const machine = await alice.launch();
  await assert.rejects(
    alice.call('AssociateAddress', { AllocationId: one.id, InstanceId: machine.instanceId }),
    {
      code: 'InvalidAllocationID.NotFound',
    },
  );
  await assert.rejects(
    mallory.call('AssociateAddress', { AllocationId: one.id, InstanceId: machine.instanceId }),
    {
      code: 'InvalidInstanceID.NotFound',
    },
  );
  await assert.rejects(alice.call('ReleaseAddress', { AllocationId: one.id }), {
    code: 'InvalidAllocationID.NotFound',
  });
  await assert.rejects(alice.call('DescribeAddresses', { PublicIps: [one.ip] }), {
    code: 'InvalidAddress.NotFound',
  });
  await mallory.call('ReleaseAddress', { AllocationId: one.id });
});

test('a VPC without an internet gateway has no public addresses, and one with them keeps its gateway', async () => {
  const one = await allocate();
  const vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  const subnetId =
    (await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.0.0/24' })).Subnet?.SubnetId ?? '';
  const machine = await alice.launch({ subnetId });
  const associate = () =>
    alice.call('AssociateAddress', { AllocationId: one.id, InstanceId: machine.instanceId });
  await assert.rejects(associate(), { code: 'Gateway.NotAttached' });
  const gateway = (await alice.call('CreateInternetGateway', {})).InternetGateway?.InternetGatewayId ?? '';
  await alice.call('AttachInternetGateway', { VpcId: vpcId, InternetGatewayId: gateway });
  await associate();
  await assert.rejects(alice.call('DetachInternetGateway', { VpcId: vpcId, InternetGatewayId: gateway }), {
    code: 'DependencyViolation',
  });
});
