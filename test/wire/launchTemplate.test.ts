/**
 * What a launch from a template asks for. That a request overrides and adds, and cannot take away, is EC2's user guide; that block devices
 * are matched by device and tags by key is how it lets one of several be overridden.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { operationOf } from '#wire/actions.ts';
import { mergeLaunchTemplate } from '#wire/launchTemplate.ts';
import type { Shape, StructureShape } from '#wire/schema.ts';
import { randomFrom, randomValue } from './random.ts';

const request = { MinCount: 1, MaxCount: 1 };
const dataShape = operationOf('CreateLaunchTemplateVersion').input?.byName.get('LaunchTemplateData')?.shape;
const runShape = operationOf('RunInstances').input;

describe('a launch from a template', () => {
  it('asks for what the template says, where the request says nothing', () => {
    const template = {
      ImageId: 'ami-1',
      InstanceType: 't3.micro' as const,
      KeyName: 'k',
      SecurityGroupIds: ['sg-1'],
      Monitoring: { Enabled: true },
      UserData: 'eA==',
    };
    assert.deepEqual(mergeLaunchTemplate(template, request), { ...template, ...request });
    assert.deepEqual(mergeLaunchTemplate({}, { ...request, KeyName: 'own' }), { ...request, KeyName: 'own' });
  });

  it('asks for what the request says, member by member', () => {
    const merged = mergeLaunchTemplate(
      {
        InstanceType: 't3.micro',
        EbsOptimized: true,
        MetadataOptions: { HttpTokens: 'required', HttpPutResponseHopLimit: 3 },
        Placement: { AvailabilityZone: 'a', Tenancy: 'default' },
      },
      {
        ...request,
        InstanceType: 't3.small',
        EbsOptimized: false,
        MetadataOptions: { HttpPutResponseHopLimit: 1 },
        Placement: { AvailabilityZone: 'b' },
      },
    );
    assert.deepEqual(merged, {
      ...request,
      InstanceType: 't3.small',
      EbsOptimized: false,
      MetadataOptions: { HttpTokens: 'required', HttpPutResponseHopLimit: 1 },
      Placement: { AvailabilityZone: 'b', Tenancy: 'default' },
    });
  });

  it('has the request’s groups, by name or by id, in place of the template’s', () => {
    const template = { SecurityGroupIds: ['sg-1', 'sg-2'] };
    assert.deepEqual(mergeLaunchTemplate(template, { ...request, SecurityGroups: ['web'] }), {
      ...request,
      SecurityGroups: ['web'],
    });
    assert.deepEqual(
      mergeLaunchTemplate({ SecurityGroups: ['db'] }, { ...request, SecurityGroupIds: ['sg-3'] }),
      {
        ...request,
        SecurityGroupIds: ['sg-3'],
      },
    );
    assert.deepEqual(mergeLaunchTemplate(template, { ...request, SecurityGroupIds: [] }).SecurityGroupIds, [
      'sg-1',
      'sg-2',
    ]);
  });

  it('matches devices by name, interfaces by index, tags by type and key', () => {
    const merged = mergeLaunchTemplate(
      {
        BlockDeviceMappings: [
          { DeviceName: '/dev/xvda', Ebs: { VolumeSize: 8, VolumeType: 'gp3' } },
          { DeviceName: '/dev/sdb', Ebs: { VolumeSize: 1 } },
        ],
        NetworkInterfaces: [{ DeviceIndex: 0, SubnetId: 'subnet-1', AssociatePublicIpAddress: true }],
        TagSpecifications: [
          {
            ResourceType: 'instance',
            Tags: [
              { Key: 'a', Value: '1' },
              { Key: 'b', Value: '2' },
            ],
          },
          { ResourceType: 'volume', Tags: [{ Key: 'v', Value: '1' }] },
        ],
      },
      {
        ...request,
        BlockDeviceMappings: [
          { DeviceName: '/dev/sdc', Ebs: { VolumeSize: 2 } },
          { DeviceName: '/dev/xvda', Ebs: { VolumeSize: 20 } },
        ],
        NetworkInterfaces: [{ Groups: ['sg-1'], AssociatePublicIpAddress: false }],
        TagSpecifications: [
          {
            ResourceType: 'instance',
            Tags: [
              { Key: 'b', Value: '3' },
              { Key: 'c', Value: '4' },
            ],
          },
          { ResourceType: 'network-interface', Tags: [{ Key: 'n', Value: '1' }] },
        ],
      },
    );
    assert.deepEqual(merged.BlockDeviceMappings, [
      { DeviceName: '/dev/xvda', Ebs: { VolumeSize: 20, VolumeType: 'gp3' } },
      { DeviceName: '/dev/sdb', Ebs: { VolumeSize: 1 } },
      { DeviceName: '/dev/sdc', Ebs: { VolumeSize: 2 } },
    ]);
    assert.deepEqual(merged.NetworkInterfaces, [
      { DeviceIndex: 0, SubnetId: 'subnet-1', AssociatePublicIpAddress: false, Groups: ['sg-1'] },
    ]);
    assert.deepEqual(merged.TagSpecifications, [
      {
        ResourceType: 'instance',
        Tags: [
          { Key: 'a', Value: '1' },
          { Key: 'b', Value: '3' },
          { Key: 'c', Value: '4' },
        ],
      },
      { ResourceType: 'volume', Tags: [{ Key: 'v', Value: '1' }] },
      { ResourceType: 'network-interface', Tags: [{ Key: 'n', Value: '1' }] },
    ]);
  });

  it('has RunInstances’ names for what templates call otherwise, and refuses what only fleets use', () => {
    const merged = mergeLaunchTemplate(
      { RamDiskId: 'ari-1', ElasticGpuSpecifications: [{ Type: 'x' }] },
      request,
    );
    assert.deepEqual(merged, { ...request, RamdiskId: 'ari-1', ElasticGpuSpecification: [{ Type: 'x' }] });
    const requirements = {
      InstanceRequirements: { VCpuCount: { Min: 1 }, MemoryMiB: { Min: 1 } },
    };
    assert.throws(() => mergeLaunchTemplate(requirements, request), { code: 'UnsupportedOperation' });
    assert.equal(
      mergeLaunchTemplate(requirements, { ...request, InstanceType: 't3.nano' }).InstanceType,
      't3.nano',
    );
  });

  it('knows every member of a template: each is one of RunInstances, of the same shape', () => {
    assert.ok(dataShape?.kind === 'structure' && runShape !== undefined);
    const renamed = new Set(['RamDiskId', 'ElasticGpuSpecifications', 'InstanceRequirements']);
    const same = (template: Shape, run: Shape, path: string): void => {
      assert.equal(template.kind, run.kind, path);
      if (template.kind === 'list' && run.kind === 'list') same(template.element, run.element, path);
      if (template.kind === 'scalar' && run.kind === 'scalar')
        assert.equal(template.scalar, run.scalar, path);
      if (template.kind !== 'structure' || run.kind !== 'structure') return;
      for (const { name, shape } of template.members) {
        const other = run.byName.get(name);
        assert.ok(other !== undefined, `${path}.${name}`);
        same(shape, other.shape, `${path}.${name}`);
      }
    };
    const members = dataShape.members.filter(({ name }) => !renamed.has(name));
    for (const { name, shape } of members) {
      const other = runShape.byName.get(name);
      assert.ok(other !== undefined, name);
      same(shape, other.shape, name);
    }
  });

  it('property: over nothing it is the template, under nothing the request; over itself it changes nothing', () => {
    const shape = dataShape as StructureShape;
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const { InstanceRequirements: _fleets, ...data } = randomValue(
          shape,
          randomFrom(seed),
          'request',
          3,
        ) as Record<string, unknown>;
        const alone = mergeLaunchTemplate(data, request);
        const again = mergeLaunchTemplate(data, alone);
        // Devices and tags that a template names twice are matched with the first of them.
        const { BlockDeviceMappings: _a, NetworkInterfaces: _b, TagSpecifications: _c, ...rest } = alone;
        const { BlockDeviceMappings: _d, NetworkInterfaces: _e, TagSpecifications: _f, ...restAgain } = again;
        assert.deepEqual(restAgain, rest);
        assert.deepEqual(mergeLaunchTemplate({}, alone), alone);
      }),
      { numRuns: 300 },
    );
  });
});
