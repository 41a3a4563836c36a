/** A healthy region has nothing to complain of: whatever its clients do, no line of its logs is a warning or an error. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type UnexpectedError, unexpectedErrors } from '#base/rpc/unexpected.ts';
import { type RealClient, type RealCloud, startRealCloud } from './realCloud.ts';

interface Line {
  readonly name: string;
  readonly level: number;
  readonly msg?: string;
}

/** pino's number for `warn`. */
const warn = 40;

const lines: Line[] = [];
const unforeseen: string[] = [];
const onUnforeseen = (message: unknown): void => {
  const { method, error } = message as UnexpectedError;
  unforeseen.push(`${method}: ${String(error)}`);
};
let cloud: RealCloud;
let alice: RealClient;

before(async () => {
  unexpectedErrors.subscribe(onUnforeseen);
  cloud = await startRealCloud({ hosts: 2, logTo: { write: (line) => void lines.push(JSON.parse(line)) } });
  alice = await cloud.account();
});
after(async () => {
  await cloud?.close();
  unexpectedErrors.unsubscribe(onUnforeseen);
});

const complaints = (): string[] => [
  ...lines.filter(({ level }) => level >= warn).map((line) => JSON.stringify(line)),
  ...unforeseen,
];

const network = async () => {
  const vpcId = (await alice.call('CreateVpc', { CidrBlock: '10.0.0.0/16' })).Vpc?.VpcId ?? '';
  const gateway = (await alice.call('CreateInternetGateway', {})).InternetGateway?.InternetGatewayId ?? '';
  await alice.call('AttachInternetGateway', { VpcId: vpcId, InternetGatewayId: gateway });
  const made = await alice.call('CreateSubnet', { VpcId: vpcId, CidrBlock: '10.0.0.0/28' });
  const subnetId = made.Subnet?.SubnetId ?? '';
  await alice.call('ModifySubnetAttribute', { SubnetId: subnetId, MapPublicIpOnLaunch: { Value: true } });
  return { vpcId, subnetId, gateway };
};

/** The whole life of some instances, several at once, and of what they need. */
const live = async (): Promise<void> => {
  const { vpcId, subnetId, gateway } = await network();
  const tags = [{ ResourceType: 'instance' as const, Tags: [{ Key: 'Name', Value: 'x' }] }];
  const machines = await alice.run({ SubnetId: subnetId, MinCount: 4, MaxCount: 4, TagSpecifications: tags });
  const ids = machines.map(({ InstanceId = '' }) => InstanceId);
  for (const id of ids) await alice.reaches(id, 'running');
  const { AllocationId } = await alice.call('AllocateAddress', { Domain: 'vpc' });
  const { AssociationId } = await alice.call('AssociateAddress', { AllocationId, InstanceId: ids[0] });
  const { GroupId } = await alice.call('CreateSecurityGroup', {
    GroupName: 'g',
    Description: 'd',
    VpcId: vpcId,
  });
  const rule = { GroupId, IpProtocol: 'tcp', FromPort: 80, ToPort: 80, CidrIp: '0.0.0.0/0' };
  await alice.call('AuthorizeSecurityGroupIngress', rule);
  await alice.call('ModifyInstanceAttribute', { InstanceId: ids[1], Groups: [GroupId ?? ''] });
  await alice.call('RevokeSecurityGroupIngress', rule);
  await alice.call('RebootInstances', { InstanceIds: ids });
  await alice.call('StopInstances', { InstanceIds: ids.slice(0, 2) });
  for (const id of ids.slice(0, 2)) await alice.reaches(id, 'stopped');
  await alice.call('DisassociateAddress', { AssociationId });
  await alice.call('StartInstances', { InstanceIds: ids.slice(0, 2) });
  for (const id of ids.slice(0, 2)) await alice.reaches(id, 'running');
  for (const action of [
    'DescribeInstances',
    'DescribeInstanceStatus',
    'DescribeTags',
    'DescribeVolumes',
  ] as const)
    await alice.call(action, {});
  await alice.call('GetConsoleOutput', { InstanceId: ids[0] });
  await alice.call('ReleaseAddress', { AllocationId });
  await alice.call('TerminateInstances', { InstanceIds: ids });
  for (const id of ids) await alice.reaches(id, 'terminated');
  await cloud.quiet();
  await alice.call('DeleteSecurityGroup', { GroupId });
  await alice.call('DeleteSubnet', { SubnetId: subnetId });
  await alice.call('DetachInternetGateway', { VpcId: vpcId, InternetGatewayId: gateway });
  await alice.call('DeleteInternetGateway', { InternetGatewayId: gateway });
  await alice.call('DeleteVpc', { VpcId: vpcId });
};

test('the life of instances, addresses and networks leaves no warning', { timeout: 300_000 }, async () => {
  await Promise.all([live(), live()]);
  assert.deepEqual(complaints(), []);
});

test('what clients get wrong is told to them, not to the operator', async () => {
  for (const [action, parameters] of [
    ['DescribeInstances', { 'InstanceId.1': 'i-0123456789abcdef0' }],
    ['TerminateInstances', { 'InstanceId.1': 'nonsense' }],
    ['DeleteVpc', { VpcId: 'vpc-0123456789abcdef0' }],
    ['CreateVpc', { CidrBlock: '10.0.0.0/4' }],
    ['NoSuchAction', {}],
    ['RunInstances', { ImageId: 'ami-0123456789abcdef0', MinCount: '1', MaxCount: '1' }],
  ] as const) {
    const { status } = await alice.act(action, parameters);
    assert.ok(status >= 400 && status < 500, `${action}: ${status}`);
  }
  assert.deepEqual(complaints(), []);
});

test('the lines are looked at: a warning would be seen', () => {
  assert.ok(lines.length > 50, `${lines.length} lines`);
  cloud.region.log.warn('a warning of this test');
  assert.equal(complaints().length, 1);
});
