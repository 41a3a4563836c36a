/**
 * Ids that are not there, in every member of every action that takes one: NotFound is *gone* to clients, Malformed a mistake of theirs.
 * The examples are what public test suites and clients expect of EC2; the rest follows `contracts/idKinds.ts`.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type IdKind, idKinds, notFound, parseId } from '#contracts/ids.ts';
import { absentHandlers } from '#region/absent/index.ts';
import { routedActions } from '#router/actions.ts';
import { operationOf } from '#wire/actions.ts';
import type { KnownAction } from '#wire/types.ts';
import { type Belongings, furnish } from './belongings.ts';
import { codeOf, messageOf } from './cloud.ts';
import { idKindOf, membersOf } from './idMembers.ts';
import { type RealClient, type RealCloud, startRealCloud } from './realCloud.ts';
import { type Parameters, requestWith } from './rightRequests.ts';

/** Refused as a whole, whatever they name. */
const refused: ReadonlySet<string> = new Set(['UnsupportedOperation', 'InvalidParameterCombination']);

describe('an id that is not there', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let own: Belongings;
  before(async () => {
    cloud = await startRealCloud();
    alice = await cloud.account();
    own = await furnish(cloud, alice);
  });
  after(() => cloud.close());

  const answerTo = async (action: string, parameters: Parameters): Promise<string> => {
    const reply = await alice.act(action, parameters);
    return `${codeOf(reply)}: ${messageOf(reply)}`;
  };

  /** Its error by the table of kinds. */
  const expected = (kind: IdKind, id: string): string => {
    try {
      const error = notFound(kind, parseId(kind, id));
      return `${error.code}: ${error.message}`;
    } catch (error) {
      return error instanceof Error && 'code' in error ? `${error.code}: ${error.message}` : String(error);
    }
  };

  const examples: readonly (readonly [action: string, parameters: Parameters, answer: string])[] = [
    [
      'DescribeImages',
      { 'ImageId.1': 'ami-abcd1234' },
      "InvalidAMIID.NotFound: The image id '[ami-abcd1234]' does not exist",
    ],
    [
      'RunInstances',
      { ImageId: 'ami-abcd1234', MinCount: '1', MaxCount: '1' },
      "InvalidAMIID.NotFound: The image id '[ami-abcd1234]' does not exist",
    ],
    [
      'DescribeImages',
      { 'ImageId.1': 'not_an_ami_id' },
      'InvalidAMIID.Malformed: Invalid id: "not_an_ami_id" (expecting "ami-...")',
    ],
    [
      'DescribeVpcs',
      { 'VpcId.1': 'vpc-12345678' },
      "InvalidVpcID.NotFound: The vpc ID 'vpc-12345678' does not exist",
    ],
    ['DeleteVpc', { VpcId: 'vpc-0' }, "InvalidVpcID.NotFound: The vpc ID 'vpc-0' does not exist"],
    [
      'DescribeSubnets',
      { 'SubnetId.1': 'subnet-xyz' },
      "InvalidSubnetID.NotFound: The subnet ID 'subnet-xyz' does not exist",
    ],
    [
      'DeleteInternetGateway',
      { InternetGatewayId: 'igw-0' },
      "InvalidInternetGatewayID.NotFound: The internetGateway ID 'igw-0' does not exist",
    ],
    [
      'DeleteRouteTable',
      { RouteTableId: 'rtb-12345678' },
      "InvalidRouteTableID.NotFound: The routeTable ID 'rtb-12345678' does not exist",
    ],
    [
      'DescribeNetworkInterfaces',
      { 'NetworkInterfaceId.1': 'eni-12345678' },
      "InvalidNetworkInterfaceID.NotFound: The networkInterface ID 'eni-12345678' does not exist",
    ],
    [
      'DescribeSecurityGroups',
      { 'GroupId.1': 'sg-123abc' },
      "InvalidGroup.NotFound: The security group 'sg-123abc' does not exist",
    ],
    [
      'DisassociateAddress',
      { AssociationId: 'eipassoc-00000001' },
      "InvalidAssociationID.NotFound: The association ID 'eipassoc-00000001' does not exist",
    ],
    [
      'ReleaseAddress',
      { AllocationId: 'eipalloc-12345678' },
      "InvalidAllocationID.NotFound: The allocation ID 'eipalloc-12345678' does not exist",
    ],
    [
      'DisassociateRouteTable',
      { AssociationId: 'rtbassoc-12345678' },
      "InvalidAssociationID.NotFound: The association ID 'rtbassoc-12345678' does not exist",
    ],
    ['DescribeInstances', { 'InstanceId.1': 'i-zz' }, 'InvalidInstanceID.Malformed: Invalid id: "i-zz"'],
    [
      'DescribeInstances',
      { 'InstanceId.1': 'i-12345678', 'InstanceId.2': 'i-87654321' },
      "InvalidInstanceID.NotFound: The instance IDs 'i-12345678, i-87654321' do not exist",
    ],
    [
      'DescribeSecurityGroupRules',
      { 'Filter.1.Name': 'group-id', 'Filter.1.Value.1': 'foobar' },
      'InvalidGroupId.Malformed: The security group ID "foobar" is malformed',
    ],
    [
      'DescribeSecurityGroupRules',
      { 'SecurityGroupRuleId.1': 'sgr-12345678' },
      "InvalidSecurityGroupRuleId.NotFound: The security group rule ID 'sgr-12345678' does not exist",
    ],
    [
      'CreateTags',
      { 'ResourceId.1': 'nonsense', 'Tag.1.Key': 'k' },
      "InvalidID: The ID 'nonsense' is not valid",
    ],
    [
      'CreateTags',
      { 'ResourceId.1': 'ami-blah', 'Tag.1.Key': 'k' },
      "InvalidID: The ID 'ami-blah' is not valid",
    ],
    ['CreateTags', { 'ResourceId.1': 'i-blah', 'Tag.1.Key': 'k' }, "InvalidID: The ID 'i-blah' is not valid"],
    [
      'DeleteTags',
      { 'ResourceId.1': 'vpc-12345678' },
      "InvalidVpcID.NotFound: The vpc ID 'vpc-12345678' does not exist",
    ],
    [
      'DescribeVolumes',
      { 'VolumeId.1': 'standard' },
      "InvalidParameterValue: Value (standard) for parameter volumeId is invalid. Expected: 'vol-...'.",
    ],
  ];
  it('is answered in EC2’s words', async () => {
    for (const [action, parameters, answer] of examples)
      assert.equal(await answerTo(action, parameters), answer, action);
    for (const id of ['igw-12345678', 'igw-zz', 'vgw-12345678', 'foobar']) {
      const parameters = { RouteTableId: own.table, DestinationCidrBlock: '0.0.0.0/0', GatewayId: id };
      assert.equal(
        await answerTo('CreateRoute', parameters),
        `InvalidGatewayID.NotFound: The gateway ID '${id}' does not exist`,
      );
    }
  });

  it('is NotFound or Malformed by its kind, in every member of every action', async () => {
    const before = await cloud.fingerprint();
    const wrong: string[] = [];
    let asked = 0;
    // Those of what the region has nothing of are in test/region/absent.test.ts.
    const named = routedActions.filter((action) => !Object.hasOwn(absentHandlers, action));
    for (const action of named as readonly KnownAction[])
      for (const member of membersOf(operationOf(action).input)) {
        const kind = idKindOf(action, member);
        // The region has no prefix lists to compare a rule's with: the rule is kept for the day when it has.
        if (kind === undefined || kind === 'prefixList') continue;
        const { prefix } = idKinds[kind];
        for (const id of [
          `${prefix}-12345678`,
          `${prefix}-0123456789abcdef0`,
          `${prefix}-zz`,
          `x${prefix}-12345678`,
          'foobar',
        ]) {
          const parameters = requestWith(action, member, id, own);
          const answer = await answerTo(action, parameters);
          if (refused.has(answer.split(':')[0] ?? '')) continue;
          asked += 1;
          const told = `${action} ${new URLSearchParams(parameters)}: ${answer}`;
          // A launch tells the network where a group was looked for.
          const right = answer.replace(/ in VPC 'vpc-[0-9a-f]{17}'$/, '');
          const rule = expected(kind, id);
          const spelt = action === 'DeleteDhcpOptions' ? rule.replace('OptionID.', 'OptionsID.') : rule;
          if (right !== spelt) wrong.push(told);
        }
      }
    assert.deepEqual(wrong, []);
    assert.ok(asked > 200, `${asked}`);
    assert.equal(await cloud.fingerprint(), before);
  });

  it('is told with the others that are not there, and after those that are malformed', async () => {
    const both = { 'VpcId.1': 'vpc-12345678', 'VpcId.2': own.vpc, 'VpcId.3': 'vpc-zz' };
    assert.equal(
      await answerTo('DescribeVpcs', both),
      "InvalidVpcID.NotFound: The vpc IDs 'vpc-12345678, vpc-zz' do not exist",
    );
    assert.equal(
      await answerTo('DescribeVpcs', { ...both, 'VpcId.4': 'x' }),
      'InvalidVpcID.Malformed: Invalid id: "x" (expecting "vpc-...")',
    );
  });
});

describe('no id at all', () => {
  it('is “No instances specified” where instances are to be changed', async () => {
    const cloud = await startRealCloud();
    try {
      const alice = await cloud.account();
      for (const action of ['StartInstances', 'StopInstances', 'RebootInstances', 'TerminateInstances'])
        for (const parameters of [{}, { InstanceId: '' }] as Parameters[]) {
          const reply = await alice.act(action, parameters);
          assert.equal(
            `${codeOf(reply)}: ${messageOf(reply)}`,
            'InvalidParameterCombination: No instances specified',
          );
        }
    } finally {
      await cloud.close();
    }
  });
});
