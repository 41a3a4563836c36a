/** Debian's Prometheus finds VMs by its ec2_sd, with the labels that it makes of what DescribeInstances says. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { until } from '../router/realCloud.ts';
import {
  type ClientRegion,
  clientRegionName,
  clientZone,
  hasPackages,
  startClientRegion,
} from './support/clients.ts';

interface Target {
  readonly discoveredLabels: Readonly<Record<string, string>>;
}

test('Prometheus finds the VMs that run, and their labels', { timeout: 5 * 60_000 }, async (t) => {
  if (!(await hasPackages(t, 'prometheus'))) return;
  const region = await startClientRegion();
  const port = await freePort();
  const prometheus = await started(region, port);
  try {
    const made = await region.owner.run({
      MinCount: 2,
      MaxCount: 2,
      InstanceType: 't3.micro',
      TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'Role', Value: 'web' }] }],
    });
    const ids = made.map(({ InstanceId }) => InstanceId ?? '').sort();
    for (const id of ids) await region.owner.reaches(id, 'running');
    const labels = await until('both are found as running', async () => {
      const found = await targetsOf(port);
      const running = found.filter((each) => each.__meta_ec2_instance_state === 'running');
      return running.length === ids.length && running;
    });
    assert.deepEqual(labels.map((each) => each.__meta_ec2_instance_id).sort(), ids);
    for (const each of labels) {
      const instance = await region.owner.instance(each.__meta_ec2_instance_id ?? '');
      assert.equal(each.__meta_ec2_tag_Role, 'web');
      assert.equal(each.__meta_ec2_instance_type, 't3.micro');
      assert.equal(each.__meta_ec2_region, clientRegionName);
      assert.equal(each.__meta_ec2_availability_zone, clientZone);
      assert.equal(each.__meta_ec2_availability_zone_id, 'l1-az1');
      assert.equal(each.__meta_ec2_architecture, 'x86_64');
      assert.equal(each.__meta_ec2_ami, region.cloud.imageId);
      assert.equal(each.__meta_ec2_private_ip, instance.PrivateIpAddress);
      assert.equal(each.__meta_ec2_public_ip, instance.PublicIpAddress);
      assert.equal(each.__meta_ec2_vpc_id, instance.VpcId);
      assert.equal(each.__meta_ec2_primary_subnet_id, instance.SubnetId);
      assert.equal(each.__address__, `${instance.PrivateIpAddress}:9100`);
    }
  } finally {
    prometheus.kill('SIGKILL');
    await region.close();
  }
});

const started = async (region: ClientRegion, port: number) => {
  const discovery = {
    endpoint: region.endpoint,
    region: clientRegionName,
    access_key: region.accessKeyId,
    secret_key: region.secretAccessKey,
    port: 9100,
    refresh_interval: '1s',
  };
  // JSON is YAML.
  const config = { scrape_configs: [{ job_name: 'vms', ec2_sd_configs: [discovery] }] };
  const file = path.join(region.home, 'prometheus.yml');
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  const flags = [
    `--config.file=${file}`,
    `--storage.tsdb.path=${path.join(region.home, 'prometheus')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  return spawn('prometheus', flags, { stdio: 'ignore', env: { PATH: process.env.PATH, HOME: region.home } });
};

const targetsOf = async (port: number): Promise<Target['discoveredLabels'][]> => {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1/targets?state=active`);
    const body: { data: { activeTargets: Target[] } } = JSON.parse(await answer.text());
    return body.data.activeTargets.map(({ discoveredLabels }) => discoveredLabels);
  } catch {
    // It does not listen yet.
    return [];
  }
};

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
};
