/** What `up` sets up through the EC2 API, as any client could: key pair, security group, a first VM with a public address. */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { exec } from '#base/exec.ts';
import { monotonicMs } from '#base/monotonic.ts';
import type { RunRecord } from '#lab/runRecord.ts';
import { Ec2Error } from './ec2Client.ts';
import type { Region } from './region.ts';
import { itemsAt, textAt, type XmlElement } from './xmlTree.ts';

export const keyName = 'pando';
const groupName = 'pando';
/** A whole CPU, so that no quota slows its boot under emulation; little memory. */
const instanceType = 'custom.1000m.128';
const pollMs = 300;
const runningTimeoutMs = 180_000;
const pageTimeoutMs = 240_000;

type Log = (line: string) => void;

/** Makes the key on this machine once and imports its public half. */
export async function ensureKeyPair({ ec2, directory }: Region): Promise<void> {
  if (!existsSync(directory.keyFile))
    await exec('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'pando', '-f', directory.keyFile]);
  const known = await ec2.call('DescribeKeyPairs', {
    'Filter.1.Name': 'key-name',
    'Filter.1.Value.1': keyName,
  });
  if (itemsAt(known, 'keySet').length > 0) return;
  const material = readFileSync(`${directory.keyFile}.pub`).toString('base64');
  await ec2.call('ImportKeyPair', { KeyName: keyName, PublicKeyMaterial: material });
}

/** The security group of the first VM: SSH, HTTP and ping from everywhere. Answers its id. */
export async function ensureSecurityGroup({ ec2 }: Region): Promise<string> {
  const known = await ec2.call('DescribeSecurityGroups', {
    'Filter.1.Name': 'group-name',
    'Filter.1.Value.1': groupName,
  });
  const groupId = textAt(itemsAt(known, 'securityGroupInfo')[0] ?? known, 'groupId');
  if (groupId !== '') return groupId;
  const made = await ec2.call('CreateSecurityGroup', {
    GroupName: groupName,
    GroupDescription: 'SSH, HTTP and ping',
  });
  const rules = [
    ['tcp', '22', '22'],
    ['tcp', '80', '80'],
    ['icmp', '-1', '-1'],
  ].flatMap(([protocol, from, to], at) => {
    const rule = `IpPermissions.${at + 1}`;
    return [
      [`${rule}.IpProtocol`, protocol],
      [`${rule}.FromPort`, from],
      [`${rule}.ToPort`, to],
      [`${rule}.IpRanges.1.CidrIp`, '0.0.0.0/0'],
    ];
  });
  await ec2.call('AuthorizeSecurityGroupIngress', {
    GroupId: textAt(made, 'groupId'),
    ...Object.fromEntries(rules),
  });
  return textAt(made, 'groupId');
}

/** The state of an instance, `absent` when there is no such one. */
export async function instanceState({ ec2 }: Region, instanceId: string): Promise<string> {
  const answer = await ec2
    .call('DescribeInstances', { 'InstanceId.1': instanceId })
    .catch((error: unknown) => {
      if (error instanceof Ec2Error && error.code.startsWith('InvalidInstanceID')) return undefined;
      throw error;
    });
  const instance =
    answer && itemsAt(answer, 'reservationSet').flatMap((each) => itemsAt(each, 'instancesSet'))[0];
  return instance === undefined ? 'absent' : textAt(instance, 'instanceState', 'name');
}

/** Waits until the instance is running. Throws with the reason when it ends instead. */
export async function waitRunning(region: Region, instanceId: string): Promise<void> {
  const until = monotonicMs() + runningTimeoutMs;
  for (;;) {
    const state = await instanceState(region, instanceId);
    if (state === 'running') return;
    if (state !== 'pending') throw new Error(`${instanceId} is ${state} instead of running. See: pando logs`);
    if (monotonicMs() > until)
      throw new Error(`${instanceId} is still ${state} after ${runningTimeoutMs / 1000} s. See: pando logs`);
    await delay(pollMs);
  }
}

/** The same in every `up` of a region: a launch that an interrupt hid from us is found again rather than repeated. */
const launchToken = 'pando-up-first-vm';

async function runInstance(
  { ec2 }: Region,
  imageId: string,
  groupId: string,
  token: string,
): Promise<XmlElement> {
  const launched = await ec2.call('RunInstances', {
    ImageId: imageId,
    ClientToken: token,
    InstanceType: instanceType,
    MinCount: '1',
    MaxCount: '1',
    KeyName: keyName,
    'SecurityGroupId.1': groupId,
    'TagSpecification.1.ResourceType': 'instance',
    'TagSpecification.1.Tag.1.Key': 'Name',
    'TagSpecification.1.Tag.1.Value': 'first',
  });
  return itemsAt(launched, 'instancesSet')[0] ?? launched;
}

/** Launches a VM and gives it an elastic address. */
export async function launchFirstVm(
  region: Region,
  imageId: string,
  log: Log,
): Promise<NonNullable<RunRecord['firstVm']>> {
  await ensureKeyPair(region);
  const groupId = await ensureSecurityGroup(region);
  let instanceId = textAt(await runInstance(region, imageId, groupId, launchToken), 'instanceId');
  const state = await instanceState(region, instanceId);
  if (state !== 'pending' && state !== 'running') {
    log(`${instanceId} is ${state}: launching another`);
    instanceId = textAt(await runInstance(region, imageId, groupId, randomUUID()), 'instanceId');
  }
  log(`${instanceId} is pending`);
  await waitRunning(region, instanceId);
  const { allocationId, publicIp } = await ensureAddress(region, instanceId);
  log(`${instanceId} is running, its address is ${publicIp}`);
  return { instanceId, allocationId, publicIp };
}

/** The instance's elastic address: the one that it has, else a new one. */
async function ensureAddress(
  { ec2 }: Region,
  instanceId: string,
): Promise<{ allocationId: string; publicIp: string }> {
  const known = await ec2.call('DescribeAddresses');
  const [own] = itemsAt(known, 'addressesSet').filter((each) => textAt(each, 'instanceId') === instanceId);
  const address = own ?? (await ec2.call('AllocateAddress', { Domain: 'vpc' }));
  const allocationId = textAt(address, 'allocationId');
  if (own === undefined)
    await ec2.call('AssociateAddress', { InstanceId: instanceId, AllocationId: allocationId });
  return { allocationId, publicIp: textAt(address, 'publicIp') };
}

/**
 * Waits until the VM's page answers and names the VM, and returns it. Its server is up a moment before the VM has learned from
 * the metadata service who it is.
 */
export async function waitPage(publicIp: string, instanceId: string): Promise<string> {
  const until = monotonicMs() + pageTimeoutMs;
  for (;;) {
    try {
      const response = await fetch(`http://${publicIp}/`, { signal: AbortSignal.timeout(5_000) });
      const page = await response.text();
      if (response.ok && page.includes(instanceId)) return page;
    } catch {
      // It has not booted yet.
    }
    if (monotonicMs() > until)
      throw new Error(`http://${publicIp}/ does not answer. See: pando console, pando logs`);
    await delay(pollMs);
  }
}
