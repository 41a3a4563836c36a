/** A simulated host that writes its VMs down has them again, and refuses whom it refused, after its process has ended. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SimCaller } from '#simhost/caller.ts';
import { vmFiles } from '#simhost/saved.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { SimWorld } from '#simhost/world.ts';

const image = { imageId: 'ami-1', digest: 'sha256:x' };
const vpc = {
  ...{ vpcId: 'vpc-1', vni: 100, version: 1, cidrs: ['10.0.0.0/16'], groups: [], ports: [], dnsServers: [] },
  ...{ subnets: [], domainName: 'test.internal', mtu: 1_450 },
};
const command = (instanceId: string, generation: number, step: string) => ({
  ...{ workflowId: `wf-${instanceId}-${generation}`, epoch: 1, step, generation },
});

const launchOn = async (host: SimHost, instanceId: string, generation: number): Promise<void> => {
  const to = new SimCaller(host, { checked: true });
  const port = {
    ...{
      eniId: `eni-${instanceId}`,
      instanceId,
      mac: '06:00:00:00:00:01',
      ip: '10.0.0.10',
      subnetId: 'subnet-1',
    },
    ...{ groupIds: [], sourceDestCheck: true, vtep: '198.18.1.11', epoch: 2 * generation },
  };
  const metadata = {
    ...{
      instanceId,
      accountId: '111122223333',
      imageId: image.imageId,
      instanceType: 'p1.nano',
      launchIndex: 0,
    },
    ...{ reservationId: 'r-1', hostname: 'h', availabilityZone: 'z', region: 'test-1', hopLimit: 1 },
    ...{
      httpTokens: 'optional' as const,
      httpEndpoint: 'enabled' as const,
      launchTime: '2026-01-01T00:00:00Z',
    },
  };
  await to.call('vm.ensureImage', { command: command(instanceId, generation, 'image'), instanceId, image });
  const network = await to.call('vm.prepareNetwork', {
    ...{
      command: command(instanceId, generation, 'network'),
      instanceId,
      vpc,
      port,
      metadata,
      activate: true,
    },
  });
  const requirement = { vcpus: 1, memoryMib: 64, rootDiskMib: 64 };
  await to.call('vm.launch', {
    ...{
      command: command(instanceId, generation, 'launch'),
      instanceId,
      requirement,
      image,
      network,
      incoming: false,
    },
  });
};

const stopOn = (host: SimHost, instanceId: string, generation: number): Promise<unknown> =>
  new SimCaller(host).call('vm.stop', {
    ...{ command: command(instanceId, generation, 'stop'), instanceId, force: true, graceMs: 0 },
  });

const withDirectory = async (work: (directory: string) => Promise<void>): Promise<void> => {
  const directory = mkdtempSync(join(tmpdir(), 'pando-saved-'));
  try {
    await work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
};

const hostIn = (directory: string): SimHost =>
  new SimHost({
    ...{ hostId: 'h-1', zone: 'z-1a', vtep: '198.18.1.11', world: new SimWorld() },
    store: vmFiles(directory),
  });

test('what ran runs, what was stopped is stopped, what was destroyed is gone', () =>
  withDirectory(async (directory) => {
    const host = hostIn(directory);
    for (const id of ['i-1', 'i-2', 'i-3']) await launchOn(host, id, 1);
    await stopOn(host, 'i-2', 2);
    await new SimCaller(host).call('vm.destroy', {
      command: command('i-3', 2, 'destroy'),
      instanceId: 'i-3',
    });
    const again = hostIn(directory);
    const shown = again
      .reports()
      .map(({ instanceId, state, generation }) => ({ instanceId, state, generation }));
    assert.deepEqual(shown, [
      { instanceId: 'i-1', state: 'running', generation: 1 },
      { instanceId: 'i-2', state: 'stopped', generation: 2 },
    ]);
    assert.deepEqual(again.reports(), host.reports());
    assert.deepEqual([...again.card.ports.keys()], ['eni-i-1']);
  }));

test('a command of a former owner is refused as before', () =>
  withDirectory(async (directory) => {
    await launchOn(hostIn(directory), 'i-1', 5);
    const again = hostIn(directory);
    await assert.rejects(stopOn(again, 'i-1', 4), { code: 'StaleEpoch' });
    assert.equal(again.vms.get('i-1')?.state, 'running');
  }));

test('a write that was cut off leaves the record of before', () =>
  withDirectory(async (directory) => {
    await launchOn(hostIn(directory), 'i-1', 1);
    const [name = ''] = readdirSync(directory);
    writeFileSync(join(directory, `${name}.new`), '{"instanceId":');
    assert.equal(hostIn(directory).vms.get('i-1')?.state, 'running');
  }));
