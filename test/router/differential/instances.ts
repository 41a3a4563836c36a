/** Instances and what comes with them. */
import assert from 'node:assert/strict';
import type { _InstanceType } from '@aws-sdk/client-ec2';
import fc from 'fast-check';
import { type Model, model, plainText, refuses, sameTags, shows, type Tag, tags } from './model.ts';

const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined });

const userData = fc
  .uint8Array({ minLength: 1, maxLength: 64 })
  .map((bytes) => Buffer.from(bytes).toString('base64'));

const specificationsOf = (
  lists: Readonly<Record<'instance' | 'volume' | 'network-interface', readonly Tag[]>>,
) =>
  (['instance', 'volume', 'network-interface'] as const).flatMap((ResourceType) =>
    lists[ResourceType].length === 0 ? [] : [{ ResourceType, Tags: [...lists[ResourceType]] }],
  );

const launch = fc.record({
  InstanceType: fc.constantFrom('p1.nano', 'p1.micro').map((name) => name as _InstanceType),
  UserData: optional(userData),
  DisableApiTermination: optional(fc.boolean()),
  DisableApiStop: optional(fc.boolean()),
  InstanceInitiatedShutdownBehavior: optional(fc.constantFrom('stop' as const, 'terminate' as const)),
  EbsOptimized: optional(fc.boolean()),
  monitoring: optional(fc.boolean()),
  CpuCredits: optional(fc.constantFrom('standard', 'unlimited')),
  AutoRecovery: optional(fc.constantFrom('default' as const, 'disabled' as const)),
  MetadataOptions: optional(
    fc.record({
      HttpTokens: fc.constantFrom('optional' as const, 'required' as const),
      HttpEndpoint: fc.constantFrom('enabled' as const, 'disabled' as const),
      HttpPutResponseHopLimit: fc.integer({ min: 1, max: 64 }),
    }),
  ),
  volume: optional(
    fc.record({ VolumeSize: fc.integer({ min: 1, max: 8 }), VolumeType: fc.constantFrom('gp2', 'gp3') }),
  ),
  place: fc.constantFrom('subnet' as const, 'interface' as const, 'default' as const),
  description: plainText(1, 30),
  instanceTags: tags,
  volumeTags: tags,
  interfaceTags: tags,
});

const instance = model('an instance', launch, async ({ client, own }, asked) => {
  const { call } = client;
  const { place, volume, monitoring, CpuCredits, AutoRecovery, MetadataOptions } = asked;
  const { instanceTags, volumeTags, interfaceTags, description, ...plain } = asked;
  const { UserData, DisableApiTermination, DisableApiStop, InstanceInitiatedShutdownBehavior, ...shown } =
    plain;
  const lists = { instance: instanceTags, volume: volumeTags, 'network-interface': interfaceTags };
  const network = {
    default: {},
    subnet: { SubnetId: own.subnet, SecurityGroupIds: [own.group] },
    interface: {
      NetworkInterfaces: [
        { DeviceIndex: 0, SubnetId: own.subnet, Groups: [own.group], Description: description },
      ],
    },
  }[place];
  const TagSpecifications = specificationsOf(lists);
  const [made] = await client.run({
    InstanceType: shown.InstanceType,
    EbsOptimized: shown.EbsOptimized,
    UserData,
    DisableApiTermination,
    DisableApiStop,
    InstanceInitiatedShutdownBehavior,
    ...(monitoring === undefined ? {} : { Monitoring: { Enabled: monitoring } }),
    ...(CpuCredits === undefined ? {} : { CreditSpecification: { CpuCredits } }),
    ...(AutoRecovery === undefined ? {} : { MaintenanceOptions: { AutoRecovery } }),
    ...(MetadataOptions === undefined ? {} : { MetadataOptions }),
    ...(volume === undefined
      ? {}
      : {
          BlockDeviceMappings: [
            { DeviceName: '/dev/vda', Ebs: { ...volume, VolumeType: volume.VolumeType as 'gp3' } },
          ],
        }),
    ...network,
    ...(TagSpecifications.length === 0 ? {} : { TagSpecifications }),
  });
  const InstanceId = made?.InstanceId ?? '';
  const running = await client.reaches(InstanceId, 'running');
  shows(running, { InstanceType: shown.InstanceType, EbsOptimized: shown.EbsOptimized });
  sameTags(running.Tags, instanceTags);
  if (monitoring !== undefined) assert.equal(running.Monitoring?.State, monitoring ? 'enabled' : 'disabled');
  if (AutoRecovery !== undefined) shows(running.MaintenanceOptions, { AutoRecovery });
  if (MetadataOptions !== undefined) shows(running.MetadataOptions, MetadataOptions);
  const attribute = async (
    Attribute: 'userData' | 'disableApiTermination' | 'disableApiStop' | 'instanceInitiatedShutdownBehavior',
  ) => call('DescribeInstanceAttribute', { InstanceId, Attribute });
  assert.equal((await attribute('userData')).UserData?.Value, UserData);
  assert.equal(
    (await attribute('disableApiTermination')).DisableApiTermination?.Value,
    DisableApiTermination ?? false,
  );
  assert.equal((await attribute('disableApiStop')).DisableApiStop?.Value, DisableApiStop ?? false);
  assert.equal(
    (await attribute('instanceInitiatedShutdownBehavior')).InstanceInitiatedShutdownBehavior?.Value,
    InstanceInitiatedShutdownBehavior ?? 'stop',
  );
  const { InstanceCreditSpecifications: [credits] = [] } = await call(
    'DescribeInstanceCreditSpecifications',
    {
      InstanceIds: [InstanceId],
    },
  );
  shows(credits, { InstanceId, CpuCredits });
  const { Volumes: [root] = [] } = await call('DescribeVolumes', {
    Filters: [{ Name: 'attachment.instance-id', Values: [InstanceId] }],
  });
  if (volume !== undefined) shows(root, { Size: volume.VolumeSize, VolumeType: volume.VolumeType });
  sameTags(root?.Tags, volumeTags);
  const { NetworkInterfaces: [eni] = [] } = await call('DescribeNetworkInterfaces', {
    Filters: [{ Name: 'attachment.instance-id', Values: [InstanceId] }],
  });
  sameTags(eni?.TagSet, interfaceTags);
  if (place !== 'default') {
    shows(eni, { SubnetId: own.subnet, VpcId: own.vpc });
    assert.deepEqual(
      eni?.Groups?.map(({ GroupId }) => GroupId),
      [own.group],
    );
  }
  if (place === 'interface') shows(eni, { Description: description });
  const off = { Value: false };
  await call('ModifyInstanceAttribute', { InstanceId, DisableApiTermination: off });
  await call('TerminateInstances', { InstanceIds: [InstanceId] });
  await client.reaches(InstanceId, 'terminated');
});

const changed = model(
  'a change of an instance',
  fc.record({
    DisableApiStop: fc.boolean(),
    DisableApiTermination: fc.boolean(),
    behavior: fc.constantFrom('stop', 'terminate'),
    AutoRecovery: fc.constantFrom('default' as const, 'disabled' as const),
    SourceDestCheck: fc.boolean(),
    description: plainText(0, 30),
  }),
  async ({ client, own }, { behavior, AutoRecovery, SourceDestCheck, description, ...flags }) => {
    const { call } = client;
    const InstanceId = own.instance;
    for (const [name, Value] of Object.entries(flags))
      await call('ModifyInstanceAttribute', { InstanceId, [name]: { Value } });
    const InstanceInitiatedShutdownBehavior = { Value: behavior };
    await call('ModifyInstanceAttribute', { InstanceId, InstanceInitiatedShutdownBehavior });
    await call('ModifyInstanceMaintenanceOptions', { InstanceId, AutoRecovery });
    await call('ModifyInstanceAttribute', { InstanceId, SourceDestCheck: { Value: SourceDestCheck } });
    await call('ModifyNetworkInterfaceAttribute', {
      NetworkInterfaceId: own.eni,
      Description: { Value: description },
    });
    const attribute = (
      Attribute: 'disableApiStop' | 'disableApiTermination' | 'instanceInitiatedShutdownBehavior',
    ) => call('DescribeInstanceAttribute', { InstanceId, Attribute });
    shows(await attribute('disableApiStop'), { DisableApiStop: { Value: flags.DisableApiStop } });
    shows(await attribute('disableApiTermination'), {
      DisableApiTermination: { Value: flags.DisableApiTermination },
    });
    shows(await attribute('instanceInitiatedShutdownBehavior'), { InstanceInitiatedShutdownBehavior });
    const shown = await client.instance(InstanceId);
    shows(shown, { SourceDestCheck });
    shows(shown.MaintenanceOptions, { AutoRecovery });
    shows(shown.NetworkInterfaces?.[0], { SourceDestCheck, Description: description });
    const described = await call('DescribeNetworkInterfaceAttribute', {
      NetworkInterfaceId: own.eni,
      Attribute: 'description',
    });
    shows(described, { Description: { Value: description } });
  },
);

const defaults = model(
  'the metadata defaults of an account',
  fc.record({
    HttpTokens: fc.constantFrom('optional' as const, 'required' as const),
    HttpEndpoint: fc.constantFrom('enabled' as const, 'disabled' as const),
    HttpPutResponseHopLimit: fc.integer({ min: 1, max: 64 }),
  }),
  async ({ client: { call } }, asked) => {
    await call('ModifyInstanceMetadataDefaults', asked);
    assert.deepEqual((await call('GetInstanceMetadataDefaults', {})).AccountLevel, { ...asked });
    await call('ModifyInstanceMetadataDefaults', {
      HttpTokens: 'no-preference',
      HttpEndpoint: 'no-preference',
      HttpPutResponseHopLimit: -1,
    });
    assert.deepEqual((await call('GetInstanceMetadataDefaults', {})).AccountLevel ?? {}, {});
    await refuses(
      call('ModifyInstanceMetadataDefaults', { HttpPutResponseHopLimit: 65 }),
      'InvalidParameterValue',
    );
  },
);

export const instanceModels: readonly Model[] = [instance, changed, defaults];
