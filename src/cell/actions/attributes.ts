/** DescribeInstanceAttribute, ModifyInstanceAttribute, ModifyInstanceMetadataOptions. */
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { permit } from '../instance-states.ts';
import { sizeOf } from '../instance-types.ts';
import { assertNotMigrating } from '../lifecycle.ts';
import {
  changeInstance,
  type InstanceChange,
  type InstanceRow,
  type InstanceSpec,
} from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { findInstances, lockOne } from './find.ts';
import { renderInstance, renderMetadataOptions } from './render.ts';
import { readMetadataOptions, readUserData } from './run-input.ts';

type Attribute = Out<'DescribeInstanceAttribute'>;

/** What each attribute's name shows. */
const shown: Readonly<Record<string, (row: InstanceRow) => Attribute>> = {
  instanceType: ({ spec }) => ({ InstanceType: { Value: spec.instanceType } }),
  userData: ({ spec }) => ({ UserData: spec.userData === undefined ? {} : { Value: spec.userData } }),
  disableApiTermination: ({ spec }) => ({ DisableApiTermination: { Value: spec.disableApiTermination } }),
  disableApiStop: ({ spec }) => ({ DisableApiStop: { Value: spec.disableApiStop } }),
  instanceInitiatedShutdownBehavior: ({ spec }) => ({
    InstanceInitiatedShutdownBehavior: { Value: spec.shutdownBehavior },
  }),
  rootDeviceName: ({ spec }) => ({ RootDeviceName: { Value: spec.image.rootDeviceName } }),
  sourceDestCheck: ({ spec }) => ({ SourceDestCheck: { Value: spec.sourceDestCheck } }),
  ebsOptimized: ({ spec }) => ({ EbsOptimized: { Value: spec.ebsOptimized } }),
  enaSupport: () => ({ EnaSupport: { Value: true } }),
  sriovNetSupport: () => ({ SriovNetSupport: {} }),
  enclaveOptions: () => ({ EnclaveOptions: { Enabled: false } }),
  kernel: () => ({ KernelId: {} }),
  ramdisk: () => ({ RamdiskId: {} }),
  productCodes: () => ({ ProductCodes: [] }),
  groupSet: ({ spec }) => ({
    Groups: spec.groups.map(({ groupId, groupName }) => ({ GroupId: groupId, GroupName: groupName })),
  }),
  blockDeviceMapping: (row) => ({ BlockDeviceMappings: renderInstance(row, {}).BlockDeviceMappings ?? [] }),
};

export const describeInstanceAttribute = async (
  input: In<'DescribeInstanceAttribute'>,
  context: CellContext,
): Promise<Attribute> => {
  const [row] = await findInstances(context, [input.InstanceId ?? '']);
  const name = input.Attribute ?? '';
  const show = Object.hasOwn(shown, name) ? shown[name] : undefined;
  if (show === undefined || row === undefined)
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${name.slice(0, 64)}) for parameter attribute is invalid. Unknown attribute.`,
    );
  endDryRun(input);
  return { InstanceId: row.id, ...show(row) };
};

interface Wanted {
  readonly change: InstanceChange;
  readonly stoppedOnly: boolean;
}

type Input = In<'ModifyInstanceAttribute'>;

/** The two forms of this call: a member per attribute, or `Attribute` and `Value`. */
const normalized = (input: Input): Input => {
  const { Attribute: name, Value: value } = input;
  if (name === undefined) return input;
  if (value === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter Value');
  const on = value === 'true';
  switch (name) {
    case 'instanceType':
      return { ...input, InstanceType: { Value: value } };
    case 'userData':
      return { ...input, UserData: { Value: Buffer.from(value, 'base64') } };
    case 'disableApiTermination':
      return { ...input, DisableApiTermination: { Value: on } };
    case 'disableApiStop':
      return { ...input, DisableApiStop: { Value: on } };
    case 'instanceInitiatedShutdownBehavior':
      return { ...input, InstanceInitiatedShutdownBehavior: { Value: value } };
    case 'ebsOptimized':
      return { ...input, EbsOptimized: { Value: on } };
    case 'sourceDestCheck':
      return { ...input, SourceDestCheck: { Value: on } };
    default:
      throw new PandoError('UnsupportedOperation', `The attribute ${name} cannot be changed.`);
  }
};

/** Interfaces belong to the region: a change of theirs that only the cell knew would be no change at all. */
const refuseInterfaceChanges = (input: Input, row: InstanceRow): void => {
  if (input.Groups !== undefined)
    throw new PandoError(
      'UnsupportedOperation',
      'Change the security groups of the network interface instead.',
    );
  const check = input.SourceDestCheck?.Value;
  if (check !== undefined && check !== row.spec.sourceDestCheck)
    throw new PandoError('UnsupportedOperation', 'Change sourceDestCheck of the network interface instead.');
  if (input.BlockDeviceMappings?.length)
    throw new PandoError('UnsupportedOperation', 'The root device’s mapping cannot be changed.');
};

const specChanges = (input: Input): Partial<InstanceSpec> => {
  const behavior = input.InstanceInitiatedShutdownBehavior?.Value;
  if (behavior !== undefined && behavior !== 'stop' && behavior !== 'terminate')
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${behavior}) for parameter instanceInitiatedShutdownBehavior is invalid.`,
    );
  const data = input.UserData?.Value;
  return {
    ...(input.DisableApiTermination?.Value === undefined
      ? {}
      : { disableApiTermination: input.DisableApiTermination.Value }),
    ...(input.DisableApiStop?.Value === undefined ? {} : { disableApiStop: input.DisableApiStop.Value }),
    ...(input.EbsOptimized?.Value === undefined ? {} : { ebsOptimized: input.EbsOptimized.Value }),
    ...(behavior === undefined ? {} : { shutdownBehavior: behavior }),
    // The wire has decoded one layer of base64; what is stored and told to guests is the base64 of the data itself.
    ...(data === undefined ? {} : { userData: readUserData(Buffer.from(data).toString('base64')) }),
    ...(input.InstanceType?.Value === undefined ? {} : { instanceType: input.InstanceType.Value }),
  };
};

const wantedChange = (input: Input, row: InstanceRow): Wanted => {
  refuseInterfaceChanges(input, row);
  const spec = specChanges(input);
  if (spec.instanceType === undefined)
    return { change: { spec: { ...row.spec, ...spec } }, stoppedOnly: input.UserData !== undefined };
  const size = sizeOf(spec.instanceType);
  return {
    change: { spec: { ...row.spec, ...spec }, vcpus_milli: size.vcpusMilli, memory_mib: size.memoryMib },
    stoppedOnly: true,
  };
};

export const modifyInstanceAttribute = async (
  given: Input,
  context: CellContext,
): Promise<Out<'ModifyInstanceAttribute'>> => {
  const input = normalized(given);
  await context.services.db.transaction(async (tx) => {
    const row = await lockOne(context, tx, input.InstanceId ?? '');
    const { change, stoppedOnly } = wantedChange(input, row);
    assertNotMigrating(row, 'modifyStopped');
    // Size and user data reach the host at the start: until then nothing is held by the old size but the disk.
    if (stoppedOnly) permit('modifyStopped', row.id, row.state);
    endDryRun(input);
    await changeInstance(tx, row.id, change);
  });
  return {};
};

export const modifyInstanceMetadataOptions = async (
  input: In<'ModifyInstanceMetadataOptions'>,
  context: CellContext,
): Promise<Out<'ModifyInstanceMetadataOptions'>> => {
  const row = await context.services.db.transaction(async (tx) => {
    const row = await lockOne(context, tx, input.InstanceId ?? '');
    const metadata = readMetadataOptions(input, row.spec.metadata);
    const changed = { ...row, spec: { ...row.spec, metadata } };
    // A card learns the options when the network is prepared: a running instance keeps what it was started with.
    const same =
      JSON.stringify({ ...metadata, instanceTags: '' }) ===
      JSON.stringify({ ...row.spec.metadata, instanceTags: '' });
    if (!same && row.state !== 'stopped')
      throw new PandoError(
        'UnsupportedOperation',
        `Stop the instance '${row.id}' to change its metadata options.`,
      );
    endDryRun(input);
    await changeInstance(tx, row.id, { spec: changed.spec });
    return changed;
  });
  return { InstanceId: row.id, InstanceMetadataOptions: renderMetadataOptions(row) };
};
