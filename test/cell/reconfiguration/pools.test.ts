/** Which host a pool takes, beyond what the plan knows (S5.1): one that cannot be emptied is in nobody's way. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { SimHost } from '#simhost/sim-host.ts';
import { createRequest, launch, running, terminate } from '../notices/support.ts';
import { TestCell, type TestProcessor, until } from '../support/harness.ts';

let setup: TestCell;
let processor: TestProcessor;
before(async () => {
  setup = await TestCell.start();
  for (let made = 0; made < 3; made++)
    setup.addHost({ capacity: { vcpus: 4, memoryMib: 256, diskMib: 65_536 } });
  processor = await setup.addProcessor({ timing: { duePollMs: 50, parkMsMin: 20, parkMsMax: 100 } });
  const { operator } = processor.cell;
  await operator['operator.setPool']({
    ...{ name: 'small', slotType: 'p1.nano', low: 0, target: 1, layout: { types: ['p1.nano'] } },
    hosts: setup.hosts.map(({ hostId }) => hostId),
  });
  await operator['operator.setPool']({
    ...{ name: 'big', slotType: 'p1.small', low: 0, target: 0, layout: { types: ['p1.small'] } },
  });
  await processor.cell.services.capacity.refresh();
});
after(() => setup.stop());

const db = () => processor.cell.services.db;
const staysOf = async ({ hostId }: SimHost): Promise<string | undefined> =>
  (await processor.cell.pools.view()).hosts.find((host) => host.hostId === hostId)?.stays;
const hostOf = (at: number): SimHost => {
  const host = setup.hosts[at];
  assert.ok(host);
  return host;
};

test('room that is kept for somebody, and a VM in quarantine, keep a host where it is', async () => {
  const host = hostOf(0);
  assert.equal(await staysOf(host), undefined);
  for (const purpose of ['notice', 'reservation']) {
    await db().query(
      `insert into claims (id, host_id, purpose, holder, vcpus_milli, memory_mib, disk_mib, network_mbps, epoch)
       values ('kept', $1, $2, 'somebody', 1, 1, 1, 0, 1)`,
      [host.hostId, purpose],
    );
    assert.match((await staysOf(host)) ?? '', /room is kept there for somebody/);
    await db().query("delete from claims where id = 'kept'");
  }
  await db().query(
    `insert into quarantined_vms (instance_id, host_id, reason, report) values ('i-strange', $1, 'no-row', '{}')`,
    [host.hostId],
  );
  assert.match((await staysOf(host)) ?? '', /i-strange is in quarantine there/);
  await db().query('delete from quarantined_vms');
  assert.equal(await staysOf(host), undefined);
});

test('VMs that fit on the others one by one move; together they may not', async () => {
  // Three of four slots everywhere: one host's three find three.
  const ids = await launch(setup, processor, { count: 9 });
  await running(processor, ids);
  const counts = setup.hosts.map((host) => host.vms.size);
  assert.deepEqual(counts, [3, 3, 3]);
  assert.match((await staysOf(hostOf(0))) ?? '', /find no room elsewhere \(p1\.nano\)/);
  const [first = ''] = [...hostOf(1).vms.keys()];
  await terminate(processor, [first]);
  await until('it finds room', async () => (await staysOf(hostOf(0))) === undefined);
  await terminate(processor, ids.slice());
  await until('all are gone', () => setup.hosts.every((host) => host.vms.size === 0));
});

test('a host that was given back rests, and another one is taken instead', async () => {
  await db().query('update hosts set rests_until = null');
  await until(
    'no claim is left',
    async () =>
      (await staysOf(hostOf(0))) === undefined &&
      (await processor.cell.pools.view()).hosts.every(({ vms }) => vms === 0),
  );
  const first = hostOf(0);
  first.faults.order('rebuild.step', { kind: 'fail' });
  await createRequest(processor, { instanceType: 'p1.small' });
  await until('another one is of the pool', async () => {
    await processor.cell.pools.turn();
    const { pools } = await processor.cell.operator['operator.pools']({});
    return pools.find(({ name }) => name === 'big')?.hosts.some((id) => id !== first.hostId);
  });
  const { restsUntil, pool, state } = await processor.cell.operator['operator.host']({
    hostId: first.hostId,
  });
  assert.deepEqual([pool, state], ['small', 'active']);
  assert.ok(restsUntil !== undefined);
});
