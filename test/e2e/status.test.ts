/** Status checks and the console of a real guest: by evidence, and not lost with an agent, a card or a host that it leaves. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Qmp } from '#agent/qmp.ts';
import { at, textAt } from '#cli/xmlTree.ts';
import type { Network } from './support/cloud.ts';
import { killAndWait, processesOf } from './support/processes.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { until } from './support/until.ts';

interface Status {
  readonly instance: string;
  readonly system: string;
  readonly impairedSince: string;
}

describe('the status checks of a real guest', { timeout: 12 * 60_000 }, () => {
  let region: TestRegion;
  let network: Network;
  let id: string;

  before(async () => {
    region = await startRegion({ cells: 1, hostsPerCell: 2 });
    network = await region.cloud.network('10.62.0.0/16', [22]);
    [id = ''] = await region.cloud.launch({ network });
    await region.cloud.reach('running', [id]);
  });
  after(() => region?.[Symbol.asyncDispose]());

  const status = async (): Promise<Status> => {
    const answer = await region.cloud.ec2.call('DescribeInstanceStatus', { 'InstanceId.1': id });
    const item = at(answer, 'instanceStatusSet', 'item');
    assert.ok(item);
    return {
      instance: textAt(item, 'instanceStatus', 'status'),
      system: textAt(item, 'systemStatus', 'status'),
      impairedSince: textAt(item, 'instanceStatus', 'details', 'item', 'impairedSince'),
    };
  };
  const becomes = (wanted: string): Promise<Status> =>
    until(`it is ${wanted}`, async () => {
      const now = await status();
      return now.instance === wanted && now;
    });
  /** Looks as often as it can while `work` goes on; what was said of the guest then. */
  const during = async (work: () => Promise<void>): Promise<readonly string[]> => {
    const seen = new Set<string>();
    let busy = true;
    const looking = (async () => {
      while (busy)
        seen.add(
          await status().then(
            ({ instance }) => instance,
            () => 'no answer',
          ),
        );
    })();
    await work();
    busy = false;
    await looking;
    return [...seen].filter((each) => each !== 'no answer');
  };
  const consoleOf = async (): Promise<string> => {
    const answer = await region.cloud.ec2.call('GetConsoleOutput', { InstanceId: id });
    return Buffer.from(textAt(answer, 'output'), 'base64').toString();
  };
  const pause = async (): Promise<void> => {
    const hosts = region.plan.hosts.map(({ name }) => region.directory.state(name));
    const socket = hosts.map((dir) => join(dir, 'vms', id, 'sockets', 'qmp2.sock')).find(existsSync);
    assert.ok(socket);
    const qmp = await Qmp.connect(socket, 10_000);
    await qmp.execute('stop');
    qmp.close();
  };

  it('initializing, then ok once it has asked for its address', async () => {
    const first = await status();
    assert.ok(['initializing', 'ok'].includes(first.instance));
    const { system, impairedSince } = await becomes('ok');
    assert.deepEqual([system, impairedSince], ['ok', '']);
  });

  it('stay ok through the deaths of its agent and its card, and through a migration, and so does its console', async () => {
    const before = await consoleOf();
    assert.notEqual(before, '');
    const seen = await during(async () => {
      for (const victim of await processesOf(region.directory))
        if (victim.kind === 'agent' || victim.kind === 'card') await killAndWait(region.directory, victim);
      await region.pando('migrate', id);
    });
    assert.deepEqual(seen, ['ok']);
    assert.ok((await consoleOf()).startsWith(before.slice(0, 1_000)));
  });

  it('a VMM that stands still: impaired since then; a reboot lets it run, and it is ok again', async () => {
    await pause();
    const { impairedSince, system } = await becomes('impaired');
    assert.equal(system, 'impaired');
    assert.ok(!Number.isNaN(Date.parse(impairedSince)));
    await region.cloud.ec2.call('RebootInstances', { 'InstanceId.1': id });
    await becomes('ok');
    assert.equal((await status()).impairedSince, '');
  });

  it('the console is there after its termination', async () => {
    const before = await consoleOf();
    await region.cloud.terminate([id]);
    await region.cloud.reach('terminated', [id]);
    assert.ok((await consoleOf()).includes(before.slice(-200)));
  });
});
