/** Everything that locks several rows of the region's store, at once and on the same rows: nobody waits in a circle. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sql } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import { PandoError } from '#contracts/errors.ts';
import { placeInterface, releaseInterface } from '#region/interfaces.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

const rounds = 15;
let region: TestRegion;
let alice: Client;

before(async () => {
  region = await startTestRegion({ privateRestMs: 60_000, publicRestMs: 60_000 });
  alice = await region.account();
});
after(() => region.stop());

/** What users may be told when several of them change the same things. */
const expected = new Set([
  'Conflict',
  'InvalidAssociationID.NotFound',
  'InvalidInstanceID.NotFound',
  'InvalidNetworkInterfaceID.NotFound',
  'InsufficientAddressCapacity',
  'InsufficientFreeAddressesInSubnet',
  'InvalidPermission.Duplicate',
  'InvalidPermission.NotFound',
  'StaleEpoch',
]);

const tolerant = async (work: () => Promise<unknown>): Promise<void> => {
  try {
    await work();
  } catch (error) {
    if (!expected.has(PandoError.from(error).code)) throw error;
  }
};

const repeat = async (work: (round: number) => Promise<unknown>): Promise<void> => {
  for (let n = 0; n < rounds; n++) await tolerant(() => work(n));
};

const newNetwork = async (): Promise<string> => {
  const vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  const gateway = (await alice.call('CreateInternetGateway', {})).InternetGateway?.InternetGatewayId ?? '';
  await alice.call('AttachInternetGateway', { VpcId: vpcId, InternetGatewayId: gateway });
  const subnet = await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.0.0/28' });
  return subnet.Subnet?.SubnetId ?? '';
};

test('launches, ends, moves of addresses, starts and changes of groups in two networks at once: no deadlock', async () => {
  const subnets = [await newNetwork(), await newNetwork()];
  const machines = await Promise.all(
    subnets.flatMap((subnetId) => [1, 2].map(() => alice.launch({ subnetId, publicIp: true }))),
  );
  const addresses = await Promise.all(
    [1, 2, 3].map(async () => (await alice.call('AllocateAddress', { Domain: 'vpc' })).AllocationId ?? ''),
  );
  const any = <T>(list: readonly T[]): T => {
    const one = list[Math.floor(Math.random() * list.length)];
    assert.ok(one !== undefined);
    return one;
  };
  const epochs = new Map(machines.map(({ eniId }) => [eniId, 2]));
  const place = async () => {
    const { eniId } = any(machines);
    const epoch = (epochs.get(eniId) ?? 0) + 1;
    epochs.set(eniId, epoch);
    const vtep = epoch % 3 === 0 ? undefined : `198.18.1.${11 + (epoch % 2)}`;
    await placeInterface(region.region, { eniId, epoch, vtep });
  };
  const groupIds = await Promise.all(
    machines.map(async ({ vpcId }) => {
      const { SecurityGroups } = await alice.call('DescribeSecurityGroups', {
        Filters: [{ Name: 'vpc-id', Values: [vpcId] }],
      });
      return SecurityGroups?.[0]?.GroupId ?? '';
    }),
  );
  const allowed = { IpProtocol: 'tcp', FromPort: 80, ToPort: 80, IpRanges: [{ CidrIp: '192.0.2.0/24' }] };
  const IpPermissions = [allowed];
  await Promise.all([
    ...[1, 2, 3].map(() =>
      repeat(() =>
        alice.call('AssociateAddress', {
          AllocationId: any(addresses),
          InstanceId: any(machines).instanceId,
        }),
      ),
    ),
    repeat(async () => {
      const { Addresses = [] } = await alice.call('DescribeAddresses', {});
      const used = Addresses.filter(({ AssociationId }) => AssociationId !== undefined);
      if (used.length > 0)
        await alice.call('DisassociateAddress', { AssociationId: any(used).AssociationId });
    }),
    ...[1, 2].map(() => repeat(place)),
    ...subnets.flatMap((subnetId) =>
      [1, 2].map(() =>
        repeat(async () => {
          const { instanceId } = await alice.launch({ subnetId, publicIp: true });
          await releaseInterface(region.region, instanceId);
        }),
      ),
    ),
    repeat((n) =>
      n % 2 === 0
        ? alice.call('AuthorizeSecurityGroupIngress', { GroupId: any(groupIds), IpPermissions })
        : alice.call('RevokeSecurityGroupIngress', { GroupId: any(groupIds), IpPermissions }),
    ),
    repeat(() => region.region.sweeper.turn()),
  ]);
  const { databaseUrl: url } = region.region.config;
  await region.region.db.destroy();
  assert.equal(await deadlocks(url), 0);
});

/** Counted by the server since the database was made; what its processes counted is written when they end. */
const deadlocks = async (url: string): Promise<number> => {
  const db = openDatabase<Record<never, never>>({ url });
  try {
    const { rows } = await sql<{ n: number }>`
      select deadlocks as n from pg_stat_database where datname = current_database()`.execute(db);
    return rows[0]?.n ?? -1;
  } finally {
    await db.destroy();
  }
};
