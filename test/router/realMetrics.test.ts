/** What a launch and a refused request leave in the metrics of router, cell and region. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readMetrics } from '#base/metrics.ts';
import { parseMetrics, type Sample, sumBy } from '#cli/metricsText.ts';
import { type RealClient, type RealCloud, startRealCloud, until } from './realCloud.ts';

let cloud: RealCloud;
let alice: RealClient;

before(async () => {
  cloud = await startRealCloud({ hosts: 2 });
  alice = await cloud.account();
  const [instance] = await alice.run();
  await alice.reaches(instance?.InstanceId ?? '', 'running');
  const { workflowId } = await cloud.cell.operator['operator.migrate']({
    instanceId: instance?.InstanceId ?? '',
  });
  assert.ok(workflowId);
  await cloud.quiet();
});
after(() => cloud?.close());

const read = async (): Promise<Sample[]> => parseMetrics(await readMetrics());

test('requests by action and code; a word that a client made up is no label', async () => {
  await alice.act('MadeUpAction');
  await alice.act('StartInstances', { 'InstanceId.1': 'i-0010123456789abcd' });
  const requests = sumBy(await read(), 'pando_requests_total', ['action', 'code']);
  assert.equal(requests.get('RunInstances OK'), 1);
  assert.equal(requests.get('StartInstances InvalidInstanceID.NotFound'), 1);
  assert.equal(requests.get('other InvalidAction'), 1);
  assert.ok(![...requests.keys()].some((key) => key.includes('MadeUp')));
  assert.equal(sumBy(await read(), 'pando_request_seconds_count', ['action']).get('RunInstances'), 1);
});

test('launch and migration by step, how they ended, and what they did to hosts', async () => {
  const samples = await read();
  const steps = sumBy(samples, 'pando_workflow_step_seconds_count', ['kind', 'step']);
  assert.equal(steps.get('launch launchVm'), 1);
  assert.equal(steps.get('migrate critical'), 1);
  const ended = sumBy(samples, 'pando_workflows_ended_total', ['kind', 'state']);
  assert.equal(ended.get('launch done'), 1);
  assert.equal(ended.get('migrate done'), 1);
  assert.equal(sumBy(samples, 'pando_migration_downtime_seconds_count', []).get(''), 1);
  assert.equal(sumBy(samples, 'pando_instances', ['state']).get('running'), 1);
  assert.deepEqual(
    [...sumBy(samples, 'pando_host_connected', ['host'])],
    [
      ['h-1', 1],
      ['h-2', 1],
    ],
  );
  const used = sumBy(samples, 'pando_host_amount', ['resource', 'amount']);
  assert.ok(
    (used.get('vcpus used') ?? 0) > 0 && (used.get('memory limit') ?? 0) > (used.get('memory used') ?? 0),
  );
});

test('pushes of the region, waits for the store, streams', async () => {
  const samples = await read();
  assert.ok((sumBy(samples, 'pando_pushes_total', ['device', 'outcome']).get('cell cell-1 ok') ?? 0) > 0);
  assert.ok((sumBy(samples, 'pando_store_wait_seconds_count', []).get('') ?? 0) > 0);
  assert.ok((sumBy(samples, 'pando_rpc_streams', []).get('') ?? 0) >= 4);
  // The router looks at the cell's health all the time: a call may be under way just now.
  await until(
    'no call is left over',
    async () => sumBy(await read(), 'pando_rpc_calls_in_flight', ['side']).get('serving') === 0,
  );
});
