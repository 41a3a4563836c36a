/** VMs that violate their group's constraint are moved (S4.5), on a cell of two processors with simulated hosts. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Mending } from '#cell/capacity/mending.ts';
import { findInstance } from '#cell/store/instances.ts';
import { mendingLimits } from '#slots/mending.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';
import { launch, reaches } from './support/instances.ts';

let setup: TestCell;
let one: TestProcessor;
let two: TestProcessor;

before(async () => {
  setup = await TestCell.start();
  for (let n = 0; n < 3; n++)
    setup.addHost({ capacity: { vcpus: 8, memoryMib: 4_096, diskMib: 65_536, networkMbps: 10_000 } });
  one = await setup.addProcessor();
  two = await setup.addProcessor();
});
after(() => setup.stop());

const db = () => one.cell.services.db;
const hostOf = async (id: string): Promise<string> => {
  const row = await findInstance(db(), id);
  return row?.host_id ?? '';
};
/** Runs on this host: it was launched somewhere, and an operator has moved it. */
const runsOn = async (hostId: string, more: object = {}): Promise<string> => {
  const id = await launch(one.cell, setup.region, more);
  await reaches(one.cell, id, 'running');
  if ((await hostOf(id)) !== hostId)
    await one.cell.operator['operator.migrate']({ instanceId: id, targetHostId: hostId });
  await until(`${id} is on ${hostId}, and nothing is done to it`, async () => {
    return (await hostOf(id)) === hostId && (await isFree(id));
  });
  return id;
};
const stop = async (id: string): Promise<void> => {
  await ec2(one.cell, 'StopInstances', { InstanceIds: [id] });
  await reaches(one.cell, id, 'stopped');
};
const start = async (id: string): Promise<void> => {
  await ec2(one.cell, 'StartInstances', { InstanceIds: [id] });
  await reaches(one.cell, id, 'running');
};
const join = async (id: string, GroupName: string): Promise<void> => {
  await stop(id);
  await ec2(one.cell, 'ModifyInstancePlacement', { InstanceId: id, GroupName });
};
const end = async (...ids: readonly string[]): Promise<void> => {
  await ec2(one.cell, 'TerminateInstances', { InstanceIds: ids });
  for (const id of ids) await reaches(one.cell, id, 'terminated');
};
/** How often it was moved since it violated something. */
const movesOf = async (id: string): Promise<number> =>
  (await db().query<{ moves: number }>('select moves from violations where instance_id = $1', [id]))[0]
    ?.moves ?? 0;
const isFree = async (id: string): Promise<boolean> => {
  const moving = await db().query('select 1 from claims where id = $1', [`migration/${id}`]);
  return moving.length === 0 && (await findInstance(db(), id))?.workflow_id === null;
};
/** It has been seen for longer than any violation must stand. */
const backdate = (): Promise<unknown> =>
  db().query(`update violations set since = since - interval '10 minutes' where since is not null`);

test('S4.5 spread: a member that starts where another one is moves to a host of its own, once; a stopped one stays', async () => {
  setup.region.addPlacementGroup('apart', 'spread');
  const ids = [await runsOn('h-1'), await runsOn('h-1'), await runsOn('h-1')] as const;
  for (const id of ids) await join(id, 'apart');
  await start(ids[0]);
  await start(ids[1]);
  await until(
    'the two are on other hosts than the stopped one, and than each other',
    async () => new Set(await Promise.all(ids.map(hostOf))).size === 3,
    40_000,
  );
  assert.equal(await hostOf(ids[2]), 'h-1', 'what is stopped cannot move: it keeps its place');
  for (const id of ids.slice(0, 2)) {
    await until('the move has ended', () => isFree(id));
    assert.equal(await movesOf(id), 1, 'one move was enough');
  }
  const [left] = await db().query<{ n: number }>(
    'select count(*)::int as n from violations where cause is not null',
  );
  assert.equal(left?.n, 0);
  await start(ids[2]);
  assert.deepEqual(new Set(await Promise.all(ids.map(hostOf))).size, 3);
  await end(...ids);
});

test('S4.5 no host has a slot: it stays where it is, is tried again later, and goes once there is one', async () => {
  setup.region.addPlacementGroup('big', 'spread');
  const big = { InstanceType: 'custom.1000m.1500' };
  const ids = [await runsOn('h-1', big), await runsOn('h-1', big)] as const;
  const full = [await runsOn('h-2', { InstanceType: 'custom.1000m.4000' })];
  full.push(await runsOn('h-3', { InstanceType: 'custom.1000m.4000' }));
  for (const id of ids) await join(id, 'big');
  for (const id of ids) await start(id);
  const tried = await until(
    'it was tried',
    async () =>
      (await db().query<{ instance_id: string }>('select * from violations where tried_at is not null'))[0],
    30_000,
  );
  assert.equal(await hostOf(tried.instance_id), 'h-1');
  assert.equal(await movesOf(tried.instance_id), 0);
  await end(...full);
  await db().query(`update violations set tried_at = tried_at - interval '2 minutes'`);
  await until('they are apart', async () => (await hostOf(ids[0])) !== (await hostOf(ids[1])), 30_000);
  await end(...ids);
});

test('S4.5 utilisation: a host whose disk has become smaller than what it promised gives back, by one VM at a time', async () => {
  const ids = [await runsOn('h-3'), await runsOn('h-3'), await runsOn('h-3')];
  const host = setup.hosts.find(({ hostId }) => hostId === 'h-3');
  const [taken] = await db().query<{ used_disk_mib: number }>(
    `select used_disk_mib from hosts where id = 'h-3'`,
  );
  assert.ok(host !== undefined && taken !== undefined);
  host.diskCapacityMib = taken.used_disk_mib - 1;
  await until('it is seen', async () => {
    const rows = await db().query(`select 1 from violations where cause = 'utilisation'`);
    return rows.length > 0;
  });
  await backdate();
  const there = async (): Promise<number> =>
    (await Promise.all(ids.map(hostOf))).filter((each) => each === 'h-3').length;
  await until('one has left', async () => (await there()) === 2);
  await until('nothing is violated', async () => {
    const rows = await db().query('select 1 from violations where cause is not null');
    const moving = await db().query(`select 1 from claims where purpose = 'migration'`);
    return rows.length + moving.length === 0;
  });
  assert.equal(await there(), 2);
  assert.deepEqual((await two.cell.operator['operator.checkClaims']({})).misfits, []);
  await end(...ids);
});

test('of two processors that look at once one begins the move; a cell’s most moves are never exceeded', async () => {
  const ids = [await runsOn('h-1'), await runsOn('h-1'), await runsOn('h-2'), await runsOn('h-2')];
  setup.region.addPlacementGroup('pairs', 'spread');
  setup.region.addPlacementGroup('pairs2', 'spread');
  for (const [at, id] of ids.entries()) await join(id, at < 2 ? 'pairs' : 'pairs2');
  const limits = { ...mendingLimits, perCellMax: 1, standsMs: () => 0 };
  const begun: string[] = [];
  const both = [one, two].map(
    ({ cell }) =>
      new Mending({
        ...{ services: cell.services, owner: cell.owner, limits },
        begun: ({ workflows }) => {
          begun.push(...workflows.map(({ id }) => id));
          cell.engine.start(workflows);
        },
      }),
  );
  for (const id of ids) await ec2(one.cell, 'StartInstances', { InstanceIds: [id] });
  for (const id of ids) await reaches(one.cell, id, 'running');
  await until(
    'both pairs are apart',
    async () => {
      await Promise.all(both.map((each) => each.turn()));
      const [a, b, c, d] = await Promise.all(ids.map(hostOf));
      return a !== b && c !== d;
    },
    30_000,
  );
  for (const id of ids) assert.ok((await movesOf(id)) <= 1);
  for (const id of ids) await until('its move has ended', () => isFree(id));
  await end(...ids);
});

test('S4.5 performance: from a host that has reported pressure for long one VM moves, and the host settles first', async () => {
  const ids = [await runsOn('h-2'), await runsOn('h-2', { InstanceType: 'p1.small' })] as const;
  const { services } = one.cell;
  for (let n = 0; n < 10; n++) services.capacity.adverse('h-2', 'steal');
  await until('both are seen', async () => {
    const rows = await db().query(`select 1 from violations where cause = 'performance' and host_id = 'h-2'`);
    return rows.length === 2;
  });
  assert.deepEqual(await Promise.all(ids.map(hostOf)), ['h-2', 'h-2'], 'it has not stood yet');
  await backdate();
  await until('the bigger one moves', async () => (await hostOf(ids[1])) !== 'h-2');
  await backdate();
  const mending = new Mending({ services, owner: one.cell.owner, begun: () => assert.fail('a second move') });
  await mending.turn();
  assert.equal(await hostOf(ids[0]), 'h-2', 'the host settles');
  // Time goes by, and it is still pressed: the next one.
  await db().query(
    `update violations set moved_at = moved_at - interval '21 minutes' where moved_at is not null`,
  );
  await until('the other one moves', async () => (await hostOf(ids[0])) !== 'h-2');
  // Who has just come rests, whatever its new host reports.
  for (const id of ids) for (let n = 0; n < 10; n++) services.capacity.adverse(await hostOf(id), 'steal');
  await backdate();
  await mending.turn();
  for (const id of ids) {
    await until('its move has ended', () => isFree(id));
    assert.equal(await movesOf(id), 1);
  }
  await end(...ids);
});
