/** EC2's Capacity Reservations and Dedicated Hosts, through AWS's own SDK, on the claims of simulated hosts (S10, must show: exact counts). */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { type RealClient, type RealCloud, startRealCloud, until, zone } from './realCloud.ts';

let cloud: RealCloud;
let alice: RealClient;
let bob: RealClient;
before(async () => {
  cloud = await startRealCloud({ hosts: 2 });
  [alice, bob] = [await cloud.account(), await cloud.account()];
});
after(() => cloud.close());

/** Two fill a host. */
const half = 'custom.8000m.4096' as never;
const whole = 'custom.16000m.8192' as never;

const end = async (client: RealClient): Promise<void> => {
  const { Reservations = [] } = await client.call('DescribeInstances', {});
  const ids = Reservations.flatMap(({ Instances = [] }) => Instances)
    .filter((one) => one.State?.Name !== 'terminated')
    .flatMap((one) => one.InstanceId ?? []);
  if (ids.length > 0) await client.call('TerminateInstances', { InstanceIds: ids });
  for (const id of ids) await client.reaches(id, 'terminated');
};
afterEach(async () => {
  for (const client of [alice, bob]) {
    await end(client);
    const { CapacityReservations = [] } = await client.call('DescribeCapacityReservations', {});
    for (const { CapacityReservationId, State } of CapacityReservations)
      if (State === 'active') await client.call('CancelCapacityReservation', { CapacityReservationId });
    const { Hosts = [] } = await client.call('DescribeHosts', {});
    const held = Hosts.filter(({ State }) => State === 'available').flatMap(({ HostId }) => HostId ?? []);
    if (held.length > 0) await client.call('ReleaseHosts', { HostIds: held });
  }
  const { drifts, misfits } = await cloud.cell.operator['operator.checkClaims']({});
  assert.deepEqual({ drifts, misfits }, { drifts: [], misfits: [] }, 'the books balance');
  assert.equal(await claimsOf('reservation'), 0);
  assert.equal(await claimsOf('dedicated-host'), 0);
});

const claimsOf = async (purpose: string): Promise<number> =>
  (
    await cloud.cell.services.db.query<{ n: number }>(
      'select count(*)::int as n from claims where purpose = $1',
      [purpose],
    )
  )[0]?.n ?? 0;

const create = async (more: object = {}, client = alice) =>
  (
    await client.call('CreateCapacityReservation', {
      ...{ InstanceType: half, InstancePlatform: 'Linux/UNIX', AvailabilityZone: zone, InstanceCount: 2 },
      ...more,
    })
  ).CapacityReservation;

/** Available and total. */
const counts = async (id: string | undefined, client = alice): Promise<[number?, number?]> => {
  const { CapacityReservations: [one] = [] } = await client.call('DescribeCapacityReservations', {
    CapacityReservationIds: [id ?? ''],
  });
  return [one?.AvailableInstanceCount, one?.TotalInstanceCount];
};

const refuses = (work: Promise<unknown>, code: string): Promise<void> =>
  assert.rejects(work, (error: Error) => {
    assert.equal(error.name, code, `${error.name}: ${error.message}`);
    return true;
  });

test('an open reservation keeps its room, takes what is like it, and has it back when that stops or ends', async () => {
  const made = await create();
  const id = made?.CapacityReservationId;
  assert.deepEqual([made?.State, made?.AvailableInstanceCount, made?.TotalInstanceCount], ['active', 2, 2]);
  assert.match(id ?? '', /^cr-001/);
  // The rest of both hosts is somebody else's: the reservation's room is not.
  await bob.run({ InstanceType: half, MinCount: 2, MaxCount: 2 });
  await refuses(bob.run({ InstanceType: half }), 'InsufficientInstanceCapacity');
  const [one] = await alice.run({ InstanceType: half });
  assert.deepEqual(await counts(id), [1, 2]);
  await alice.reaches(one?.InstanceId ?? '', 'running');
  assert.equal((await alice.instance(one?.InstanceId ?? '')).CapacityReservationId, id);
  await refuses(bob.run({ InstanceType: half }), 'InsufficientInstanceCapacity');

  await alice.call('StopInstances', { InstanceIds: [one?.InstanceId ?? ''] });
  const stopped = await alice.reaches(one?.InstanceId ?? '', 'stopped');
  assert.equal(stopped.CapacityReservationId, undefined);
  assert.deepEqual(await counts(id), [2, 2]);
  await refuses(bob.run({ InstanceType: half }), 'InsufficientInstanceCapacity');
  await alice.call('StartInstances', { InstanceIds: [one?.InstanceId ?? ''] });
  assert.equal((await alice.reaches(one?.InstanceId ?? '', 'running')).CapacityReservationId, id);
  assert.deepEqual(await counts(id), [1, 2]);

  await alice.call('TerminateInstances', { InstanceIds: [one?.InstanceId ?? ''] });
  await alice.reaches(one?.InstanceId ?? '', 'terminated');
  assert.deepEqual(await counts(id), [2, 2]);
  await refuses(bob.run({ InstanceType: half }), 'InsufficientInstanceCapacity');
  await alice.call('CancelCapacityReservation', { CapacityReservationId: id });
  await until('its room is anybody’s', async () => (await bob.run({ InstanceType: half })).length === 1);
});

test('targeted, only reserved, none: each as EC2 documents it', async () => {
  const made = await create({ InstanceMatchCriteria: 'targeted', InstanceCount: 1 });
  const id = made?.CapacityReservationId ?? '';
  const [plain] = await alice.run({ InstanceType: half });
  assert.equal((await alice.instance(plain?.InstanceId ?? '')).CapacityReservationId, undefined);
  assert.deepEqual(await counts(id), [1, 1], 'open instances do not run in a targeted one');
  const only = { CapacityReservationPreference: 'capacity-reservations-only' as const };
  await refuses(
    alice.run({ InstanceType: half, CapacityReservationSpecification: only }),
    'ReservationCapacityExceeded',
  );
  const target = { CapacityReservationTarget: { CapacityReservationId: id } };
  const [one] = await alice.run({ InstanceType: half, CapacityReservationSpecification: target });
  const shown = await alice.instance(one?.InstanceId ?? '');
  assert.equal(shown.CapacityReservationId, id);
  assert.equal(shown.CapacityReservationSpecification?.CapacityReservationTarget?.CapacityReservationId, id);
  assert.deepEqual(await counts(id), [0, 1]);
  const again = { InstanceType: half, CapacityReservationSpecification: target };
  await refuses(alice.run(again), 'ReservationCapacityExceeded');
  await refuses(alice.run({ ...again, InstanceType: 'p1.small' as never }), 'InvalidParameterCombination');
  await refuses(bob.run(again), 'InvalidCapacityReservationId.NotFound');

  const open = await create({ InstanceCount: 1 });
  await bob.run({ InstanceType: half });
  const none = { CapacityReservationPreference: 'none' as const };
  const [apart] = await alice
    .run({ InstanceType: half, CapacityReservationSpecification: none })
    .catch(() => []);
  assert.equal(apart, undefined, 'the room that is left is the reservation’s');
  const [inIt] = await alice.run({ InstanceType: half, CapacityReservationSpecification: only });
  assert.equal(
    (await alice.instance(inIt?.InstanceId ?? '')).CapacityReservationId,
    open?.CapacityReservationId,
  );
});

test('an instance’s own words about reservations change while it is stopped', async () => {
  const made = await create({ InstanceMatchCriteria: 'targeted', InstanceCount: 1 });
  const id = made?.CapacityReservationId ?? '';
  const [one] = await alice.run({ InstanceType: half });
  const InstanceId = one?.InstanceId ?? '';
  await alice.reaches(InstanceId, 'running');
  const CapacityReservationSpecification = { CapacityReservationTarget: { CapacityReservationId: id } };
  const change = () =>
    alice.call('ModifyInstanceCapacityReservationAttributes', {
      InstanceId,
      CapacityReservationSpecification,
    });
  await refuses(change(), 'IncorrectInstanceState');
  await alice.call('StopInstances', { InstanceIds: [InstanceId] });
  await alice.reaches(InstanceId, 'stopped');
  assert.equal((await change()).Return, true);
  await alice.call('StartInstances', { InstanceIds: [InstanceId] });
  assert.equal((await alice.reaches(InstanceId, 'running')).CapacityReservationId, id);
  assert.deepEqual(await counts(id), [0, 1]);
  const { Reservations = [] } = await alice.call('DescribeInstances', {
    Filters: [{ Name: 'capacity-reservation-id', Values: [id] }],
  });
  assert.equal(Reservations.length, 1);
});

test('modify, expiry, tokens, dry runs, tags, filters and pages', async () => {
  const Tags = [{ Key: 'team', Value: 'a' }];
  const first = await create({
    ...{ InstanceCount: 1, ClientToken: 'once' },
    TagSpecifications: [{ ResourceType: 'capacity-reservation', Tags }],
  });
  const twin = {
    ...{ InstanceCount: 1, ClientToken: 'once' },
    TagSpecifications: [{ ResourceType: 'capacity-reservation', Tags }],
  };
  assert.equal((await create(twin))?.CapacityReservationId, first?.CapacityReservationId);
  await refuses(create({ InstanceCount: 2, ClientToken: 'once' }), 'IdempotentParameterMismatch');
  const id = first?.CapacityReservationId ?? '';
  await alice.call('ModifyCapacityReservation', { CapacityReservationId: id, InstanceCount: 3 });
  assert.deepEqual(await counts(id), [3, 3]);
  await refuses(
    alice.call('ModifyCapacityReservation', { CapacityReservationId: id, InstanceCount: 5 }),
    'InsufficientInstanceCapacity',
  );
  assert.deepEqual(await counts(id), [3, 3]);
  await alice.run({ InstanceType: half, MinCount: 2, MaxCount: 2 });
  await refuses(
    alice.call('ModifyCapacityReservation', { CapacityReservationId: id, InstanceCount: 1 }),
    'InvalidParameterValue',
  );
  await alice.call('ModifyCapacityReservation', { CapacityReservationId: id, InstanceCount: 2 });
  assert.deepEqual(await counts(id), [0, 2]);
  await refuses(create({ DryRun: true }), 'DryRunOperation');
  await refuses(create({ InstanceCount: 0 }), 'InvalidParameterValue');
  await refuses(create({ InstanceCount: 9 }), 'InsufficientInstanceCapacity');
  await refuses(create({ AvailabilityZone: 'lab-1z' }), 'InvalidParameterValue');
  await refuses(create({ EndDateType: 'limited' }), 'InvalidParameterCombination');
  await refuses(create({ EndDate: new Date(0) }), 'InvalidParameterValue');
  await refuses(
    alice.call('CancelCapacityReservation', { CapacityReservationId: 'cr-00100000000000000' }),
    'InvalidCapacityReservationId.NotFound',
  );
  await refuses(
    bob.call('DescribeCapacityReservations', { CapacityReservationIds: [id] }),
    'InvalidCapacityReservationId.NotFound',
  );
  const second = await create({ InstanceCount: 1 });
  await create({ InstanceCount: 1 });
  const tagged = await alice.call('DescribeCapacityReservations', {
    Filters: [
      { Name: 'tag:team', Values: ['a'] },
      { Name: 'state', Values: ['active'] },
    ],
  });
  assert.deepEqual(
    tagged.CapacityReservations?.map((one) => one.CapacityReservationId),
    [id],
  );
  const seen: string[] = [];
  let NextToken: string | undefined;
  do {
    const page = await alice.call('DescribeCapacityReservations', {
      MaxResults: 5,
      Filters: [{ Name: 'instance-type', Values: [half] }],
      ...(NextToken === undefined ? {} : { NextToken }),
    });
    seen.push(...(page.CapacityReservations ?? []).map((one) => one.CapacityReservationId ?? ''));
    NextToken = page.NextToken;
  } while (NextToken !== undefined);
  assert.equal(new Set(seen).size, seen.length);
  assert.ok(seen.includes(id));

  await alice.call('CreateTags', { Resources: [id], Tags: [{ Key: 'more', Value: 'b' }] });
  const { Tags: described = [] } = await alice.call('DescribeTags', {
    Filters: [{ Name: 'resource-id', Values: [id] }],
  });
  assert.deepEqual(
    described.map(({ Key, ResourceType }) => [Key, ResourceType]),
    [
      ['more', 'capacity-reservation'],
      ['team', 'capacity-reservation'],
    ],
  );
  const CapacityReservationId = second?.CapacityReservationId ?? '';
  await alice.call('ModifyCapacityReservation', {
    CapacityReservationId,
    EndDate: new Date(Date.now() + 3_600_000),
    EndDateType: 'limited',
  });
  // As if that time had come, however long it took to say so: the store's clock decides.
  await cloud.cell.services.db.query('update capacity_reservations set end_date = now() where id = $1', [
    CapacityReservationId,
  ]);
  await until('it has expired', async () => {
    const { CapacityReservations: [one] = [] } = await alice.call('DescribeCapacityReservations', {
      CapacityReservationIds: [CapacityReservationId],
    });
    return one?.State === 'expired' && one.AvailableInstanceCount === 0;
  });
  await refuses(
    alice.call('CancelCapacityReservation', { CapacityReservationId }),
    'InvalidCapacityReservationState',
  );
});

test('a dedicated host is its account’s alone, and only for what is to be there', async () => {
  const [kept] = await bob.run({ InstanceType: half });
  await bob.reaches(kept?.InstanceId ?? '', 'running');
  const allocated = await alice.call('AllocateHosts', {
    ...{ InstanceType: half, AvailabilityZone: zone, Quantity: 1, ClientToken: 'host-once' },
    TagSpecifications: [{ ResourceType: 'dedicated-host', Tags: [{ Key: 'team', Value: 'a' }] }],
  });
  const [hostId = ''] = allocated.HostIds ?? [];
  assert.match(hostId, /^h-001/);
  const more = { InstanceType: half, AvailabilityZone: zone, Quantity: 1 } as const;
  await refuses(alice.call('AllocateHosts', more), 'InsufficientHostCapacity');
  const room = async () => {
    const { Hosts: [host] = [] } = await alice.call('DescribeHosts', { HostIds: [hostId] });
    const [one] = host?.AvailableCapacity?.AvailableInstanceCapacity ?? [];
    return {
      free: one?.AvailableCapacity,
      of: one?.TotalCapacity,
      ids: host?.Instances?.map((each) => each.InstanceId),
    };
  };
  assert.deepEqual(await room(), { free: 2, of: 2, ids: [] });
  // What is left of the other host goes to whoever comes; the dedicated one stays empty.
  const [last] = await alice.run({ InstanceType: half });
  await alice.reaches(last?.InstanceId ?? '', 'running');
  await refuses(alice.run({ InstanceType: half }), 'InsufficientInstanceCapacity');
  await refuses(bob.run({ InstanceType: half }), 'InsufficientInstanceCapacity');
  assert.deepEqual(await room(), { free: 2, of: 2, ids: [] });

  const [one] = await alice.run({ InstanceType: half, Placement: { Tenancy: 'host' } });
  const InstanceId = one?.InstanceId ?? '';
  const shown = await alice.reaches(InstanceId, 'running');
  assert.deepEqual(
    [shown.Placement?.Tenancy, shown.Placement?.HostId, shown.Placement?.Affinity],
    ['host', hostId, 'default'],
  );
  await alice.run({ InstanceType: half, Placement: { HostId: hostId, Affinity: 'host' } });
  assert.equal((await room()).free, 0);
  await refuses(alice.run({ InstanceType: half, Placement: { HostId: hostId } }), 'InsufficientHostCapacity');
  await refuses(bob.run({ InstanceType: half, Placement: { HostId: hostId } }), 'InvalidHostID.NotFound');
  await refuses(
    alice.run({ InstanceType: whole, Placement: { HostId: hostId } }),
    'InvalidParameterCombination',
  );
  const { Unsuccessful, Successful } = await alice.call('ReleaseHosts', { HostIds: [hostId] });
  assert.deepEqual([Successful, Unsuccessful?.[0]?.ResourceId], [[], hostId]);

  await alice.call('StopInstances', { InstanceIds: [InstanceId] });
  await alice.reaches(InstanceId, 'stopped');
  await alice.call('ModifyInstancePlacement', { InstanceId, Affinity: 'host' });
  await alice.call('StartInstances', { InstanceIds: [InstanceId] });
  const started = await alice.reaches(InstanceId, 'running');
  assert.deepEqual([started.Placement?.HostId, started.Placement?.Affinity], [hostId, 'host']);
  const modified = await alice.call('ModifyHosts', { HostIds: [hostId], AutoPlacement: 'off' });
  assert.deepEqual(modified.Successful, [hostId]);
  await refuses(
    alice.run({ InstanceType: half, Placement: { Tenancy: 'host' } }),
    'InsufficientHostCapacity',
  );
  const { Hosts: tagged = [] } = await alice.call('DescribeHosts', {
    Filter: [
      { Name: 'tag:team', Values: ['a'] },
      { Name: 'auto-placement', Values: ['off'] },
    ],
  });
  assert.deepEqual(
    tagged.map(({ HostId }) => HostId),
    [hostId],
  );
  await end(alice);
  assert.deepEqual((await alice.call('ReleaseHosts', { HostIds: [hostId] })).Successful, [hostId]);
  await until('it is anybody’s', async () => (await bob.run({ InstanceType: half })).length === 1);
});
