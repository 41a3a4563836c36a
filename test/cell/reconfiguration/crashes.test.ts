/** VMs that end on a host for no known reason (S5.4): nothing that its diagnostics said before is believed, and they are thorough the next time. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { crashesKeptMax } from '#cell/limits.ts';
import { type Crash, noteCrash } from '#cell/store/crashes.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { ec2, TestCell, type TestProcessor, until } from '../support/harness.ts';
import { launch, reaches } from '../support/instances.ts';

let setup: TestCell;
let processor: TestProcessor;
let host: SimHost;
before(async () => {
  setup = await TestCell.start();
  host = setup.addHost();
  processor = await setup.addProcessor({ timing: { duePollMs: 50, parkMsMin: 20, parkMsMax: 100 } });
});
after(() => setup.stop());

const db = () => processor.cell.services.db;
const operator = () => processor.cell.operator;
const running = async (): Promise<string> => {
  const id = await launch(processor.cell, setup.region);
  await reaches(processor.cell, id, 'running');
  return id;
};
const terminate = async (...ids: string[]): Promise<void> => {
  await ec2(processor.cell, 'TerminateInstances', { InstanceIds: ids });
  await until('the host is empty', () => host.vms.size === 0);
};
const rebuild = async (): Promise<void> => {
  await operator()['operator.rebuildHost']({ hostId: host.hostId });
  await until('the host is nobody’s', async () => {
    const { hosts } = await operator()['operator.hosts']({});
    return hosts.every(({ workflowId, state }) => workflowId === undefined && state === 'active');
  });
};
const crashes = async (): Promise<Crash[]> =>
  (await db().query<{ crashes: Crash[] }>('select crashes from hosts'))[0]?.crashes ?? [];
const diagnostics = async () => {
  const { strategy } = await operator()['operator.host']({ hostId: host.hostId });
  return strategy?.steps.find(({ step }) => step === 'diagnostics');
};
/** What is remembered has proved itself here. */
const trust = async (): Promise<void> => {
  const { hostClass } = await operator()['operator.host']({ hostId: host.hostId });
  await db().query(
    `insert into skip_tallies (host_class, step, kind, failures, successes, unseen)
     values ($1, 'diagnostics', 'diagnostics-passed', 0, 90, 0)`,
    [hostClass],
  );
};

test('a VM that is killed is kept of its host; the next rebuild tests all that can be tested; then it is forgotten', async () => {
  await trust();
  await rebuild();
  assert.equal(host.rebuild.wanted.get('diagnostics')?.thorough, false);
  assert.equal((await diagnostics())?.decision, 'skip');
  const id = await running();
  const vm = host.vms.get(id);
  host.killVmm(id);
  await until('it runs again', () => vm?.state === 'running');
  await reaches(processor.cell, id, 'running');
  assert.deepEqual(
    (await crashes()).map(({ instanceId, cause }) => [instanceId, cause]),
    [[id, 'killed']],
  );
  const { decision, why } = (await diagnostics()) ?? {};
  assert.equal(decision, 'keep');
  assert.match(why ?? '', new RegExp(`no known reason: ${id}`));
  await terminate(id);
  await rebuild();
  assert.equal(host.rebuild.wanted.get('diagnostics')?.thorough, true);
  assert.equal((await diagnostics())?.decision, 'skip', 'what was tested since is believed');
});

test('a guest whose kernel gave up is a sign once another one has, too', async () => {
  const ids = [await running(), await running()];
  const panic = async (id: string): Promise<void> => {
    const vm = host.vms.get(id);
    assert.ok(vm);
    const before = (await crashes()).length;
    vm.guest = { ...vm.guest, runState: 'guest-panicked' };
    await until('it is noted', async () => (await crashes()).length === before + 1);
  };
  await panic(ids[0] ?? '');
  assert.equal((await diagnostics())?.decision, 'skip');
  await panic(ids[1] ?? '');
  assert.equal((await diagnostics())?.decision, 'keep');
  await terminate(...ids);
});

test('what a customer ends is no sign, and of many the last are kept', async () => {
  const before = await crashes();
  await terminate(await running());
  assert.deepEqual(await crashes(), before);
  for (let at = 0; at < crashesKeptMax + 3; at++)
    await noteCrash(db(), host.hostId, { instanceId: `i-${at}`, cause: 'killed' });
  const kept = await crashes();
  assert.equal(kept.length, crashesKeptMax);
  assert.equal(kept.at(-1)?.instanceId, `i-${crashesKeptMax + 2}`);
});
