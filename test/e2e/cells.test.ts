/** One cell silent, the other serves (S3.5, S3.10): nobody waits for it, its VMs run on, and it is back when it answers again. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { itemsAt, textAt } from '#cli/xmlTree.ts';
import { type Network, typeSmallest, type Vm } from './support/cloud.ts';
import { processesOf } from './support/processes.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { until } from './support/until.ts';
import { vmmOf } from './support/vmm.ts';

const launchesMeanwhile = 3;

const cellOf = (instanceId: string): string => instanceId.slice('i-'.length, 'i-'.length + 3);

describe('a silent cell', { timeout: 10 * 60_000 }, () => {
  let region: TestRegion;
  /** Of one VPC, a subnet in the zone of each cell. */
  const networks: Network[] = [];
  const vms: Vm[] = [];
  const frozen: number[] = [];

  before(async () => {
    region = await startRegion({ cells: 2, hostsPerCell: 1 });
    const { cloud, ec2 } = region;
    const network = await cloud.network('10.30.0.0/16', [22, 80]);
    const zones = itemsAt(await ec2.call('DescribeAvailabilityZones'), 'availabilityZoneInfo');
    const far = await ec2.call('CreateSubnet', {
      VpcId: network.vpcId,
      CidrBlock: '10.30.1.0/24',
      AvailabilityZone: textAt(zones[1] ?? assert.fail('one zone'), 'zoneName'),
    });
    networks.push(network, { ...network, subnetId: textAt(far, 'subnet', 'subnetId') });
    for (const each of networks) vms.push(...(await launch(each)));
    assert.equal(new Set(vms.map(({ instanceId }) => cellOf(instanceId))).size, 2);
  });

  after(async () => {
    for (const pid of frozen) process.kill(pid, 'SIGCONT');
    await region?.[Symbol.asyncDispose]();
  });

  const launch = async (network: Network): Promise<Vm[]> =>
    region.cloud.reach('running', await region.cloud.launch({ network, type: typeSmallest }));

  it('is named, and felt by nobody else', async () => {
    const { cloud, ec2, directory } = region;
    const last = vms.at(-1);
    assert.ok(last);
    const silent = cellOf(last.instanceId);
    const pid = vmmOf(last.instanceId).pid;
    const parts = (await processesOf(directory)).filter(({ kind }) => kind === 'cell' || kind === 'postgres');
    const letter = String.fromCharCode('a'.charCodeAt(0) + Number.parseInt(silent, 16) - 1);
    for (const part of parts.filter(({ name }) => name.includes(`cell-${letter}`))) {
      process.kill(part.pid, 'SIGSTOP');
      frozen.push(part.pid);
    }
    assert.ok(frozen.length >= 3, 'two processors and a store');

    const answer = await until('the silent cell to be named', async () => {
      const described = await ec2.call('DescribeInstances');
      return itemsAt(described, 'unreachableCellSet').length === 1 && described;
    });
    const seen = itemsAt(answer, 'reservationSet').flatMap((each) => itemsAt(each, 'instancesSet'));
    assert.equal(seen.length, vms.filter(({ instanceId }) => cellOf(instanceId) !== silent).length);

    const [near] = networks;
    assert.ok(near);
    for (let count = 0; count < launchesMeanwhile; count++) vms.push(...(await launch(near)));
    assert.equal(vmmOf(last.instanceId).pid, pid, 'its VM runs on');

    for (const one of frozen.splice(0)) process.kill(one, 'SIGCONT');
    await until('every VM to be described again', async () => {
      const described = await cloud.describe(vms.map(({ instanceId }) => instanceId)).catch(() => []);
      return described.filter(({ state }) => state === 'running').length === vms.length;
    });
    await cloud.terminate(vms.map(({ instanceId }) => instanceId));
  });
});
