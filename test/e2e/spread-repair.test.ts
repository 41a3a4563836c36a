/** A spread group that is violated is mended by itself: one of two running VMs moves to another host, and nobody who talks to it sees it. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Vm } from './support/cloud.ts';
import { Guest } from './support/guest.ts';
import { processesOf } from './support/processes.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { Ping } from './support/traffic.ts';
import { until } from './support/until.ts';
import { vmmOf, vmmsOf } from './support/vmm.ts';

const groupName = 'apart';

describe('a violated spread group', { timeout: 15 * 60_000 }, () => {
  let region: TestRegion;
  let ids: string[] = [];
  const frozen: number[] = [];

  before(async () => {
    region = await startRegion();
    const { cloud, ec2 } = region;
    const network = await cloud.network('10.91.0.0/16', '-1');
    ids = await cloud.launch({ network, count: 2 });
    await cloud.reach('running', ids);
    for (const id of ids) await cloud.giveAddress(id);
    await ec2.call('CreatePlacementGroup', { GroupName: groupName, Strategy: 'spread' });
  });

  after(async () => {
    for (const pid of frozen) process.kill(pid, 'SIGCONT');
    await region?.[Symbol.asyncDispose]();
  });

  const named = () => Object.fromEntries(ids.map((id, at) => [`InstanceId.${at + 1}`, id]));
  const hostOf = (id: string): string => vmmOf(id).host;

  /** Both stopped, on one host, and members of the group since. */
  const violate = async (): Promise<string> => {
    const [first = '', second = ''] = ids;
    if (hostOf(first) !== hostOf(second)) await region.pando('migrate', second);
    const host = hostOf(first);
    await region.ec2.call('StopInstances', { ...named(), Force: 'true' });
    await region.cloud.reach('stopped', ids);
    for (const InstanceId of ids)
      await region.ec2.call('ModifyInstancePlacement', { InstanceId, GroupName: groupName });
    return host;
  };

  /** The other host takes nothing for now: its agent stands still. */
  const freezeOther = async (host: string): Promise<void> => {
    const other = region.plan.hosts.find(({ hostNetns }) => hostNetns !== host);
    const agent = (await processesOf(region.directory)).find(
      ({ kind, name }) => kind === 'agent' && name === `agent-${other?.number}`,
    );
    assert.ok(agent);
    process.kill(agent.pid, 'SIGSTOP');
    frozen.push(agent.pid);
  };

  const migrations = async (): Promise<number> => {
    const listed = await region.pando('workflow', 'list', '--all', '--kind', 'migrate', '--json');
    const { cells }: { cells: { workflows: unknown[] }[] } = JSON.parse(listed);
    return cells.reduce((sum, { workflows }) => sum + workflows.length, 0);
  };

  it('is mended by a live migration under traffic, of one VM, once', async (t) => {
    const { cloud, ec2 } = region;
    const host = await violate();
    await freezeOther(host);
    await ec2.call('StartInstances', named());
    const vms: Vm[] = await cloud.reach('running', ids);
    for (const vm of vms) await new Guest(vm.publicIp, cloud.keyFile).answers();
    assert.deepEqual(ids.map(hostOf), [host, host], 'a start keeps to the host that has the disk');

    const pings = vms.map((vm) => new Ping(vm.publicIp, 20));
    await using _ends = {
      [Symbol.asyncDispose]: async () => {
        for (const ping of pings) await ping[Symbol.asyncDispose]();
      },
    };
    await until('traffic to flow', () => pings.every((ping) => ping.answers > 50));
    const before = await migrations();
    for (const pid of frozen.splice(0)) process.kill(pid, 'SIGCONT');
    await until(
      'the two to be on hosts of their own, one copy each',
      () => {
        const all = ids.map((id) => vmmsOf(id));
        return all.every((vmms) => vmms.length === 1) && new Set(all.map(([only]) => only?.host)).size === 2;
      },
      4 * 60_000,
    );
    const answered = pings.map((ping) => ping.answers);
    await until('traffic to go on', () =>
      pings.every((ping, at) => ping.answers > (answered[at] ?? 0) + 100),
    );
    for (const ping of pings) {
      const { sent, lost, outOfOrder, longestGapMs } = await ping.stop();
      t.diagnostic(`ping: ${sent} sent, ${lost.length} lost, longest gap ${longestGapMs.toFixed(0)} ms`);
      assert.deepEqual(lost, []);
      assert.equal(outOfOrder, 0);
    }
    assert.equal(ids.filter((id) => hostOf(id) === host).length, 1, 'one of them stayed');
    for (const { state } of await cloud.describe(ids)) assert.equal(state, 'running');
    assert.equal(await migrations(), before + 1, 'one move was enough');
  });
});
