/** Capacity as operators see it, and as launches feel it, on a cell with simulated hosts. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PandoError } from '#contracts/errors.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { ec2, TestCell, type TestProcessor, until } from './support/harness.ts';
import { describe, launch, reaches } from './support/instances.ts';

let setup: TestCell;
let one: TestProcessor;
let two: TestProcessor;
let hosts: readonly SimHost[];

before(async () => {
  setup = await TestCell.start();
  hosts = [0, 1].map(() => setup.addHost({ capacity: { vcpus: 8, memoryMib: 4_096, diskMib: 65_536 } }));
  one = await setup.addProcessor();
  two = await setup.addProcessor();
});
after(() => setup.stop());

const operator = () => one.cell.operator;
const oneGib = { diskMib: 1_024 };
const free = async (hostId: string) => {
  const { hosts: shown } = await operator()['operator.capacity'](oneGib);
  return shown.find((each) => each.hostId === hostId)?.free.memoryMib;
};

test('how many more of each type, what a launch takes of it, and that a terminate gives it back', async () => {
  const before = await operator()['operator.capacity']({
    ...oneGib,
    types: ['p1.xlarge', 'custom.1000m.1024'],
  });
  assert.deepEqual(
    before.types.map(({ type, more, hosts: on }) => [type, more, on]),
    [
      ['p1.xlarge', 4, 2],
      ['custom.1000m.1024', 8, 2],
    ],
  );
  const id = await launch(one.cell, setup.region, { InstanceType: 'p1.xlarge' });
  await reaches(one.cell, id, 'running');
  const [xlarge] = (await operator()['operator.capacity']({ ...oneGib, types: ['p1.xlarge'] })).types;
  assert.equal(xlarge?.more, 3);
  const { demand, hosts: shown } = await operator()['operator.capacity'](oneGib);
  assert.deepEqual(
    demand.map(({ type }) => type),
    ['p1.xlarge'],
  );
  assert.ok(shown.every(({ actual }) => actual.some(({ type }) => type === 'p1.xlarge')));
  await ec2(one.cell, 'TerminateInstances', { InstanceIds: [id] });
  await reaches(one.cell, id, 'terminated');
  const [again] = (await operator()['operator.capacity']({ ...oneGib, types: ['p1.xlarge'] })).types;
  assert.equal(again?.more, 4);
  assert.deepEqual((await operator()['operator.checkClaims']({})).misfits, []);
});

test('why a type fits nowhere; one that does not exist is an error that says so', async () => {
  const far = await operator()['operator.explainCapacity']({ ...oneGib, type: 'custom.1000m.5000' });
  assert.equal(far.fitting, 0);
  assert.deepEqual(far.hosts[0]?.lacks, [{ dimension: 'memoryMib', free: 4_096, asked: 5_000 }]);
  const near = await operator()['operator.explainCapacity']({ ...oneGib, type: 'p1.nano' });
  assert.equal(near.fitting, 2);
  await assert.rejects(operator()['operator.explainCapacity']({ type: 'm9.huge' }), {
    code: 'InvalidParameterValue',
  });
});

test('a type that a host fails to launch is withdrawn there, and goes to the other host', async () => {
  const [bad, good] = hosts;
  assert.ok(bad && good);
  // Which of two equal hosts is tried first is no matter: every launch on this one fails.
  bad.faults.order('vm.launch', { kind: 'fail' }, 1_000);
  const outcomes: string[] = [];
  for (let n = 0; n < 14; n++) {
    const id = await launch(one.cell, setup.region, { InstanceType: 'p1.small' });
    const ended = await until('it has ended or runs', async () => {
      const { State } = await describe(one.cell, id);
      return State?.Name !== 'pending' && State?.Name;
    });
    outcomes.push(ended);
    if (ended === 'running') await ec2(one.cell, 'TerminateInstances', { InstanceIds: [id] });
    if (ended === 'running') await reaches(one.cell, id, 'terminated');
  }
  assert.ok(outcomes.includes('terminated'), 'some were tried there');
  assert.deepEqual(outcomes.slice(-4), ['running', 'running', 'running', 'running']);
  const explained = await operator()['operator.explainCapacity']({ ...oneGib, type: 'p1.small', hosts: 10 });
  const verdict = explained.hosts.find(({ hostId }) => hostId === bad.hostId);
  assert.ok(verdict !== undefined && verdict.fitness < 1, JSON.stringify(verdict));
  bad.faults.clear();
});

test('a launch that finds no room is EC2’s refusal, and counts as demand', async () => {
  const input = { InstanceType: 'custom.1000m.4090' };
  const made = [await launch(one.cell, setup.region, input), await launch(two.cell, setup.region, input)];
  for (const id of made) await reaches(one.cell, id, 'running');
  await assert.rejects(launch(one.cell, setup.region, input), (error: unknown) => {
    assert.equal(PandoError.from(error).code, 'InsufficientInstanceCapacity');
    return true;
  });
  for (const { hostId } of hosts) assert.equal(await free(hostId), 6);
  await until('demand follows', async () =>
    (await operator()['operator.capacity'](oneGib)).demand.some(({ type }) => type === input.InstanceType),
  );
  // What one processor gives back the other finds at once.
  await ec2(two.cell, 'TerminateInstances', { InstanceIds: [made[0] ?? ''] });
  await reaches(two.cell, made[0] ?? '', 'terminated');
  const id = await launch(one.cell, setup.region, input);
  await reaches(one.cell, id, 'running');
});
