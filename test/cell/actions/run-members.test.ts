/** Every member of RunInstances, as AWS's schema lists them: it changes what is launched, or it is refused by its name. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readRunInput } from '#cell/actions/run-input.ts';
import { PandoError } from '#contracts/errors.ts';
import { operationOf } from '#wire/actions.ts';
import type { Scalar, Shape } from '#wire/schema.ts';
import type { In } from '#wire/types.ts';

type Input = In<'RunInstances'>;
const base = { ImageId: 'ami-0123456789abcdef0', MinCount: 1, MaxCount: 1 } as const;

/** A value for each member that has an effect: with it, something else is launched. */
const effects: Readonly<Record<string, unknown>> = {
  'BlockDeviceMappings.Ebs.SnapshotId': 'snap-0123456789abcdef0',
  'BlockDeviceMappings.Ebs.VolumeSize': 9,
  'BlockDeviceMappings.Ebs.VolumeType': 'gp2',
  'BlockDeviceMappings.DeviceName': '/dev/xvda',
  'CapacityReservationSpecification.CapacityReservationPreference': 'none',
  'CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId': 'cr-0123456789abcdef0',
  ClientToken: 'token',
  'CreditSpecification.CpuCredits': 'standard',
  DisableApiStop: true,
  DisableApiTermination: true,
  EbsOptimized: true,
  'IamInstanceProfile.Arn': 'arn:aws:iam::000000000001:instance-profile/web',
  'IamInstanceProfile.Name': 'web',
  ImageId: 'ami-0123456789abcdef1',
  InstanceInitiatedShutdownBehavior: 'terminate',
  InstanceType: 't3.nano',
  KeyName: 'key',
  'MaintenanceOptions.AutoRecovery': 'disabled',
  MaxCount: 2,
  'MetadataOptions.HttpEndpoint': 'disabled',
  'MetadataOptions.HttpPutResponseHopLimit': 3,
  'MetadataOptions.HttpTokens': 'required',
  'MetadataOptions.InstanceMetadataTags': 'enabled',
  'Monitoring.Enabled': true,
  'NetworkInterfaces.AssociatePublicIpAddress': false,
  'NetworkInterfaces.Description': 'first',
  'NetworkInterfaces.Groups': ['sg-0123456789abcdef0'],
  'NetworkInterfaces.PrivateIpAddress': '10.0.0.9',
  'NetworkInterfaces.PrivateIpAddresses.PrivateIpAddress': '10.0.0.9',
  'NetworkInterfaces.SubnetId': 'subnet-0123456789abcdef0',
  'Placement.AvailabilityZone': 'lab-1a',
  'Placement.AvailabilityZoneId': 'lab1-az1',
  'Placement.GroupId': 'pg-0123456789abcdef0',
  'Placement.GroupName': 'apart',
  'Placement.Tenancy': 'dedicated',
  PrivateIpAddress: '10.0.0.9',
  SecurityGroupIds: ['sg-0123456789abcdef0'],
  SecurityGroups: ['web'],
  SubnetId: 'subnet-0123456789abcdef0',
  UserData: 'aGVsbG8=',
};

/** Members that say what kind of thing the others are about, with an input in which they have their effect. */
const parts: Readonly<Record<string, Partial<Input>>> = {
  MinCount: { MinCount: 2, MaxCount: 2 },
  'Placement.HostId': { Placement: { Tenancy: 'host', HostId: 'h-0123456789abcdef0' } },
  'TagSpecifications.ResourceType': {
    TagSpecifications: [{ ResourceType: 'volume', Tags: [{ Key: 'a', Value: 'b' }] }],
  },
  'TagSpecifications.Tags.Key': {
    TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'a', Value: '' }] }],
  },
  'TagSpecifications.Tags.Value': {
    TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'a', Value: 'b' }] }],
  },
};

/** Members that may only say what every instance has: this, and nothing else. */
const fixed: Readonly<Record<string, { readonly usual: unknown; readonly other: unknown }>> = {
  'BlockDeviceMappings.Ebs.DeleteOnTermination': { usual: true, other: false },
  'BlockDeviceMappings.Ebs.Encrypted': { usual: false, other: true },
  'BlockDeviceMappings.Ebs.Iops': { usual: 3_000, other: 4_000 },
  'BlockDeviceMappings.Ebs.Throughput': { usual: 125, other: 126 },
  'CpuOptions.AmdSevSnp': { usual: 'disabled', other: 'enabled' },
  'CpuOptions.CoreCount': { usual: 1, other: 2 },
  'CpuOptions.NestedVirtualization': { usual: 'disabled', other: 'enabled' },
  'CpuOptions.ThreadsPerCore': { usual: 1, other: 2 },
  'EnclaveOptions.Enabled': { usual: false, other: true },
  EnablePrimaryIpv6: { usual: false, other: true },
  'HibernationOptions.Configured': { usual: false, other: true },
  Ipv6AddressCount: { usual: 0, other: 1 },
  'MetadataOptions.HttpProtocolIpv6': { usual: 'disabled', other: 'enabled' },
  'NetworkInterfaces.AssociateCarrierIpAddress': { usual: false, other: true },
  'NetworkInterfaces.DeleteOnTermination': { usual: true, other: false },
  'NetworkInterfaces.DeviceIndex': { usual: 0, other: 1 },
  'NetworkInterfaces.InterfaceType': { usual: 'interface', other: 'efa' },
  'NetworkInterfaces.NetworkCardIndex': { usual: 0, other: 1 },
  'NetworkInterfaces.PrimaryIpv6': { usual: false, other: true },
  'NetworkInterfaces.PrivateIpAddresses.Primary': { usual: true, other: false },
  'NetworkInterfaces.SecondaryPrivateIpAddressCount': { usual: 0, other: 1 },
  'NetworkPerformanceOptions.BandwidthWeighting': { usual: 'default', other: 'vpc-1' },
  'Placement.Affinity': { usual: 'default', other: 'host' },
  'PrivateDnsNameOptions.EnableResourceNameDnsAAAARecord': { usual: false, other: true },
  'PrivateDnsNameOptions.EnableResourceNameDnsARecord': { usual: false, other: true },
  'PrivateDnsNameOptions.HostnameType': { usual: 'ip-name', other: 'resource-name' },
};

/** Members that mean something beside another one alone. */
const refusedWith: Readonly<Record<string, Partial<Input>>> = {
  // Of a device that the image does not have it asks for what is so already.
  'BlockDeviceMappings.NoDevice': { BlockDeviceMappings: [{ DeviceName: '/dev/sda1', NoDevice: '' }] },
};

/** Of the request, not of what is launched; a template is merged into the request before it is read. */
const ofTheCall: ReadonlySet<string> = new Set([
  'DryRun',
  'LaunchTemplate.LaunchTemplateId',
  'LaunchTemplate.LaunchTemplateName',
  'LaunchTemplate.Version',
]);

const sample: Readonly<Record<Scalar, unknown>> = {
  string: 'x',
  integer: 1,
  decimal: 1,
  boolean: true,
  timestamp: new Date(0),
  blob: Buffer.from('x'),
};

interface Leaf {
  readonly path: string;
  /** The names of the members on the way, as they are in a request. */
  readonly names: readonly string[];
  input(value?: unknown): Record<string, unknown>;
}

/** Every member that is not made of others. */
const leavesOf = (
  shape: Shape,
  path: readonly string[],
  names: readonly string[],
  wrap: (value: unknown) => unknown,
): Leaf[] => {
  if (shape.kind === 'structure')
    return shape.members.flatMap((member) =>
      leavesOf(member.shape, [...path, member.name], [...names, member.name, member.queryName], (value) =>
        wrap({ [member.name]: value }),
      ),
    );
  if (shape.kind === 'list' && shape.element.kind === 'structure')
    return leavesOf(shape.element, path, names, (value) => wrap([value]));
  const scalar = shape.kind === 'list' && shape.element.kind === 'scalar' ? shape.element.scalar : undefined;
  const fallback =
    shape.kind === 'scalar' ? sample[shape.scalar] : [scalar === undefined ? 'x' : sample[scalar]];
  return [
    {
      path: path.join('.'),
      names,
      input: (value = fallback) => ({ ...(wrap(value) as Record<string, unknown>) }),
    },
  ];
};

const { input: shape } = operationOf('RunInstances');
const leaves = shape === undefined ? [] : leavesOf(shape, [], [], (value) => value);

const read = (more: Record<string, unknown> | Partial<Input>) => {
  const { requestHash, ...rest } = readRunInput({ ...base, ...more } as Input);
  return { requestHash, rest };
};

const refusedByName = (leaf: Leaf, value?: unknown): void => {
  assert.throws(
    () => read(refusedWith[leaf.path] ?? leaf.input(value)),
    (error: unknown) => {
      const { code, message } = PandoError.from(error);
      const words = message.replaceAll(/[^A-Za-z0-9]/g, '').toLowerCase();
      // A part of something that is not there is refused with the whole.
      const named = leaf.names.some((name) => words.includes(name.replace(/s$/, '').toLowerCase()));
      return named && /^(UnsupportedOperation|InvalidParameter|InvalidBlockDevice)/.test(code);
    },
    leaf.path,
  );
};

describe('members of RunInstances', () => {
  it('are all of AWS’s schema, and the tables name no other', () => {
    assert.ok(leaves.length > 120, String(leaves.length));
    const known = new Set(leaves.map(({ path }) => path));
    for (const path of [effects, parts, fixed].flatMap((table) => Object.keys(table)))
      assert.ok(known.has(path), path);
  });

  for (const leaf of leaves.filter(({ path }) => !ofTheCall.has(path))) {
    const { path } = leaf;
    const value = effects[path];
    const whole = parts[path];
    const only = fixed[path];
    if (value !== undefined || whole !== undefined)
      it(`${path} has an effect`, () => {
        const given = read(whole ?? leaf.input(value));
        assert.notDeepEqual(given.rest, read({}).rest);
        if (path !== 'ClientToken') assert.notEqual(given.requestHash, read({}).requestHash);
      });
    else if (only !== undefined)
      it(`${path} is ${only.usual} for everybody`, () => {
        assert.doesNotThrow(() => read(leaf.input(only.usual)));
        refusedByName(leaf, only.other);
      });
    else it(`${path} is refused by name`, () => refusedByName(leaf));
  }
});
