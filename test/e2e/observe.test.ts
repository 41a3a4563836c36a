/** One launch in a real region: followed by its request id through every process, and seen in their metrics. */
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import type { TopFacts } from '#cli/topView.ts';
import { textAt } from '#cli/xmlTree.ts';
import { type Network, typeSmallest } from './support/cloud.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { until } from './support/until.ts';

const firstMetricsPort = 7400;
const settleMs = 60_000;

describe('what can be seen', { timeout: 10 * 60_000 }, () => {
  let region: TestRegion;
  let network: Network;

  before(async () => {
    region = await startRegion();
    network = await region.cloud.network('10.81.0.0/16', [22]);
  });
  after(() => region?.[Symbol.asyncDispose]());

  const processes = (): string[] => [
    ...['ca', 'webhooks', 'router', 'region', 'gateway'],
    ...region.plan.cells.flatMap(({ name }) => [`${name}-1`, `${name}-2`]),
    ...region.plan.hosts.flatMap(({ number }) => [`card-${number}`, `agent-${number}`]),
  ];

  it('the request id of a launch is in the log of every process that took part', async () => {
    const answer = await region.ec2.call('RunInstances', {
      ImageId: await region.cloud.image(),
      InstanceType: typeSmallest,
      SubnetId: network.subnetId,
      MinCount: '1',
      MaxCount: '1',
    });
    const requestId = textAt(answer, 'requestId');
    assert.match(requestId, /^[0-9a-f-]{36}$/);
    const said = (): Promise<string> => region.pando('logs', '--request', requestId);
    await until('the launch to end', async () => (await said()).includes('workflow ended'), settleMs);
    const text = await said();
    for (const process of [/ router /, / region /, / cell-\w+-\d /, / agent-\d /, / card-\d /])
      assert.match(text, process);
    const traces = new Set([...text.matchAll(/traceId=(\S+)/g)].map(([, id]) => id));
    assert.deepEqual([...traces], [requestId.replaceAll('-', '')]);
  });

  it('every process tells its metrics to root alone, and to the machine by way of one loopback port', async () => {
    for (const name of processes()) {
      const path = region.directory.metricsSocket(name);
      await until(
        `the metrics of ${name}`,
        () => statSync(path, { throwIfNoEntry: false })?.isSocket() === true,
        settleMs,
      );
      assert.equal(statSync(path).mode & 0o077, 0, path);
    }
    const url = `http://127.0.0.1:${firstMetricsPort + region.run.index}/metrics`;
    // One that does not answer the supervisor in time is left out of this look.
    await until('the metrics of all', async () => {
      const all = await (await fetch(url)).text();
      return processes().every((name) =>
        new RegExp(`^process_cpu_seconds_total\\{process="${name}"`, 'm').test(all),
      );
    });
    const agent = await (await fetch(`${url}/agent-1`)).text();
    assert.ok(!agent.includes('process="router"') && agent.includes('process="agent-1"'));
  });

  it('pando top shows hosts, VMs, requests and processes', async () => {
    const facts = await until('all processes to be shown', async () => {
      const shown = JSON.parse(await region.pando('top', '--once', '--json')) as TopFacts;
      return shown.processes.length === processes().length && shown;
    });
    assert.equal(facts.hosts.length, region.plan.hosts.length);
    assert.ok(facts.hosts.every(({ connected }) => connected));
    assert.ok((facts.instances.running ?? 0) >= 1);
    assert.ok(facts.launchesEnded >= 1);
    assert.ok(facts.actions.some(({ name, total }) => name === 'RunInstances' && total >= 1));
    assert.match(await region.pando('top', '--once'), /HOSTS.*vCPU.*PROCESSES by CPU/s);
  });

  it('a healthy region has nothing to complain of: no process has written a warning or an error', async () => {
    const ids = await region.cloud.launch({ network, type: typeSmallest, count: 2 });
    await region.cloud.reach('running', ids);
    await region.cloud.terminate(ids);
    const complaints = processes().flatMap((name) =>
      readFileSync(region.directory.logFile(name), 'utf8')
        .split('\n')
        // Whatever is no line of JSON was not meant for the log: a crash's last words.
        .filter((line) => line !== '' && !/^\{"level":[123]0,/.test(line)),
    );
    assert.deepEqual(complaints, []);
  });
});
