/** Pools and rebuilds that cannot be right: a clear error or a reason, and whatever runs goes on (must show of S5). */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { poolsMax } from '#reconfiguration/pools.ts';
import { ec2, TestCell, type TestProcessor, until } from '../support/harness.ts';
import { reaches } from '../support/instances.ts';

let setup: TestCell;
let processor: TestProcessor;
let running: string[];
before(async () => {
  setup = await TestCell.start();
  for (let made = 0; made < 4; made++)
    setup.addHost({ capacity: { vcpus: 4, memoryMib: 1_024, diskMib: 65_536 } });
  processor = await setup.addProcessor({ timing: { duePollMs: 50, parkMsMin: 20, parkMsMax: 100 } });
  const { Instances } = (await ec2(processor.cell, 'RunInstances', {
    ...{ ImageId: setup.region.imageId, InstanceType: 'p1.nano', MinCount: 8, MaxCount: 8 },
  })) as { Instances: { InstanceId: string }[] };
  running = Instances.map(({ InstanceId }) => InstanceId);
  for (const id of running) await reaches(processor.cell, id, 'running');
  await processor.cell.services.db.query('update hosts set rests_until = null');
});
after(() => setup.stop());

const operator = () => processor.cell.operator;
const pool = (more: object) => ({
  ...{ name: 'small', slotType: 'p1.nano', low: 1, target: 2, layout: { types: ['p1.nano'] } },
  ...more,
});
const set = (more: object) => operator()['operator.setPool'](pool(more));
const names = async () => (await operator()['operator.pools']({})).pools.map(({ name }) => name);
const assertSound = async (): Promise<void> => {
  for (const id of running) assert.equal(setup.world.runningOn(id).length, 1, `${id} runs`);
  assert.deepEqual(setup.world.violations, []);
  const { drifts, misfits } = await operator()['operator.checkClaims']({});
  assert.deepEqual({ drifts, misfits }, { drifts: [], misfits: [] });
};

test('a pool with impossible marks, layout or name is refused with what is wrong, and is not there', async () => {
  for (const [more, message] of [
    [{ low: 3, target: 2 }, /low \(3\) is above target \(2\)/],
    [{ low: -1 }, /low is a whole number of hosts from 0/],
    [{ low: 0.5 }, /low is a whole number/],
    [{ target: 1e9 }, /target is a whole number of hosts from 0 to 10000/],
    [{ target: Number.NaN }, /target is a whole number/],
    [{ layout: { types: ['p1.small'] } }, /does not give p1\.nano/],
    [{ layout: { vcpuOversubscription: 0 } }, /vCPU oversubscription is from 1/],
    [{ layout: { memoryOversubscription: 1e6 } }, /memory oversubscription is from 1/],
    [{ name: 'Small Pool' }, /a name is a letter/],
    [{ slotType: 'no.such', layout: {} }, /no\.such/],
    [{ hosts: ['h-none'] }, /h-none is not known/],
  ] as const)
    await assert.rejects(set(more), { message }, JSON.stringify(more));
  assert.deepEqual(await names(), []);
  await assertSound();
});

test('there is a limit on pools, and a host is of one pool', async () => {
  for (let made = 0; made < poolsMax; made++) await set({ name: `p${made}`, low: 0, target: 0 });
  await assert.rejects(set({ name: 'more', low: 0, target: 0 }), { message: /64 pools at most/ });
  const hostId = setup.hosts[0]?.hostId ?? '';
  await set({ name: 'p0', low: 0, target: 0, hosts: [hostId] });
  await assert.rejects(set({ name: 'p1', low: 0, target: 0, hosts: [hostId] }), {
    code: 'IncorrectState',
    message: /is in pool p0: pando host rebuild --pool p1/,
  });
  for (const name of await names()) await operator()['operator.dropPool']({ name });
  assert.deepEqual(await names(), []);
});

test('with all pools below their targets nobody gives: each says why, turn after turn, and nothing is begun', async () => {
  const hosts = setup.hosts.map(({ hostId }) => hostId);
  const types = (type: string) => ({ slotType: type, layout: { types: [type] } });
  await set({ name: 'small', low: 3, target: 5, hosts: hosts.slice(0, 2) });
  await set({ name: 'big', low: 3, target: 5, ...types('p1.small'), hosts: hosts.slice(2) });
  await operator()['operator.demand']({ type: 'p1.small', count: 100 });
  for (let turn = 0; turn < 5; turn++) await processor.cell.pools.turn();
  const { pools, changes } = await operator()['operator.pools']({});
  assert.deepEqual(changes, []);
  for (const { name, lacks, unmet } of pools) {
    assert.ok(lacks > 0, name);
    assert.equal(unmet, 'no pool has more hosts than its target', name);
  }
  const begun = await processor.cell.services.db.query("select 1 from workflows where kind = 'rebuild'");
  assert.equal(begun.length, 0);
  await operator()['operator.demand']({ type: 'p1.small', count: 0 });
  for (const name of await names()) await operator()['operator.dropPool']({ name });
  await assertSound();
});

test('a host that fails validation for ever: every pass once, out of service, and its pool does not ask for it again', async () => {
  const host = setup.hosts[3];
  assert.ok(host);
  host.rebuild.machine.guestsMute = true;
  host.rebuild.steps.length = 0;
  const others = setup.hosts.filter((each) => each !== host).map(({ hostId }) => hostId);
  await set({ name: 'small', low: 1, target: 3, hosts: others });
  // The one host of no pool is the only one to be had.
  await set({ name: 'big', low: 1, target: 1, slotType: 'p1.small', layout: { types: ['p1.small'] } });
  await processor.cell.pools.turn();
  const row = await until(
    'it is out of service',
    async () => {
      const { hosts } = await operator()['operator.hosts']({});
      const found = hosts.find(({ hostId }) => hostId === host.hostId);
      return found?.phase === 'out-of-service' && found;
    },
    60_000,
  );
  assert.match(row.phaseReason ?? '', /validationLaunch/);
  const passes = await processor.cell.services.db.query<{ level: string }>(
    "select input ->> 'level' as level from workflows where kind = 'rebuild' and subject = $1 order by created_at",
    [host.hostId],
  );
  const levels = passes.map(({ level }) => level);
  assert.equal(new Set(levels).size, levels.length, `each once: ${levels.join(', ')}`);
  assert.equal(levels.at(-1), 'diagnostics');
  assert.ok(!host.rebuild.steps.includes('returnToService'));
  for (let turn = 0; turn < 5; turn++) await processor.cell.pools.turn();
  const { changes, pools } = await operator()['operator.pools']({});
  assert.deepEqual(changes, [], 'it is nobody’s donor');
  assert.match(pools.find(({ name }) => name === 'big')?.unmet ?? '', /./);
  assert.ok(![...host.vms.values()].some(({ state }) => state === 'running'), 'no VM was placed there');
  await assertSound();
});
