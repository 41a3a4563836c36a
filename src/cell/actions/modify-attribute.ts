/**
 * ModifyInstanceAttribute: one attribute a call, as EC2 has it, so that each change is whole or not at all. Groups and the
 * source/destination check are the interface's, which the region owns; everything else is in the instance's row.
 */
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { permit } from '../instance-states.ts';
import { type InstanceSize, sizeOf } from '../instance-types.ts';
import { assertNotMigrating } from '../lifecycle.ts';
import {
  changeInstance,
  type InstanceChange,
  type InstanceRow,
  type InstanceSpec,
  metadataDue,
} from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { findInstances, lockOne } from './find.ts';
import { readUserData } from './run-input.ts';

type Input = In<'ModifyInstanceAttribute'>;

/** The two forms of this call: a member per attribute, or `Attribute` and `Value`. */
const normalized = ({ Attribute: name, Value: value, ...input }: Input): Input => {
  if (name === undefined) return input;
  if (value === undefined && name !== 'blockDeviceMapping' && name !== 'groupSet')
    throw new PandoError('MissingParameter', 'The request must contain the parameter Value');
  return value === undefined ? input : { ...input, ...named(name, value) };
};

const named = (name: string, value: string): Omit<Input, 'InstanceId'> => {
  const on = () => ({ Value: booleanOf(name, value) });
  switch (name) {
    case 'instanceType':
      return { InstanceType: { Value: value } };
    case 'userData':
      return { UserData: { Value: Buffer.from(readUserData(value) ?? '', 'base64') } };
    case 'disableApiTermination':
      return { DisableApiTermination: on() };
    case 'disableApiStop':
      return { DisableApiStop: on() };
    case 'instanceInitiatedShutdownBehavior':
      return { InstanceInitiatedShutdownBehavior: { Value: value } };
    case 'ebsOptimized':
      return { EbsOptimized: on() };
    case 'sourceDestCheck':
      return { SourceDestCheck: on() };
    case 'enaSupport':
      return { EnaSupport: on() };
    default:
      throw new PandoError('UnsupportedOperation', `The attribute ${name.slice(0, 64)} cannot be changed.`);
  }
};

const booleanOf = (name: string, value: string): boolean => {
  const lower = value.toLowerCase();
  if (lower === 'true' || lower === 'false') return lower === 'true';
  throw new PandoError(
    'InvalidParameterValue',
    `Value (${value.slice(0, 64)}) for parameter ${name} is invalid. Expecting true or false.`,
  );
};

/** Exactly one attribute must be given. */
const assertOne = ({ InstanceId: _id, DryRun: _dry, ...attributes }: Input): void => {
  const given = Object.entries(attributes).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  if (given.length === 0) throw new PandoError('InvalidParameterCombination', 'No attributes specified.');
  if (given.length > 1)
    throw new PandoError(
      'InvalidParameterCombination',
      `Fields for multiple attribute types specified: ${given.join(', ')}`,
    );
};

/** What Pando does not have can be set to what every instance has, and to nothing else. */
const refuseUnsupported = (input: Input, row: InstanceRow): void => {
  const refuse = (what: string): never => {
    throw new PandoError('UnsupportedOperation', `${what} cannot be changed.`);
  };
  if (input.EnaSupport?.Value === false) refuse('The attribute enaSupport');
  for (const name of ['Kernel', 'Ramdisk', 'SriovNetSupport'] as const)
    if (input[name] !== undefined) refuse(`The attribute ${name}`);
  for (const { DeviceName, Ebs, NoDevice, VirtualName } of input.BlockDeviceMappings ?? []) {
    if (DeviceName !== row.spec.image.rootDeviceName)
      throw new PandoError(
        'InvalidInstanceAttributeValue',
        `No device is currently mapped at ${DeviceName?.slice(0, 64)}`,
      );
    if (Ebs?.VolumeId !== undefined || NoDevice !== undefined || VirtualName !== undefined)
      refuse('The root device’s mapping');
    if (Ebs?.DeleteOnTermination === false) refuse('The root device’s DeleteOnTermination');
  }
};

const sizeFor = (name: string, row: InstanceRow): InstanceSize => {
  const size = (() => {
    try {
      return sizeOf(name);
    } catch {
      throw new PandoError(
        'InvalidInstanceAttributeValue',
        `Invalid value '${name.slice(0, 64)}' for InstanceType.`,
      );
    }
  })();
  const needed = row.spec.image.minMemoryMib ?? 0;
  if (size.memoryMib < needed)
    throw new PandoError(
      'InvalidInstanceAttributeValue',
      `The image of '${row.id}' needs ${needed} MiB of memory; the instance type ${size.name} has ${size.memoryMib}.`,
    );
  return size;
};

interface Wanted {
  readonly spec: Partial<InstanceSpec>;
  readonly size?: InstanceSize;
  /** Size and user data reach the host at the start: until then nothing is held by the old size but the disk. */
  readonly stoppedOnly?: true;
}

const missingValue = (): PandoError =>
  new PandoError('MissingParameter', 'The request must contain the parameter Value');
const requireValue = <T>(attribute: { readonly Value?: T | undefined }): T => {
  if (attribute.Value === undefined) throw missingValue();
  return attribute.Value;
};

const wantedChange = (input: Input, row: InstanceRow): Wanted => {
  if (input.DisableApiTermination !== undefined)
    return { spec: { disableApiTermination: requireValue(input.DisableApiTermination) } };
  if (input.DisableApiStop !== undefined)
    return { spec: { disableApiStop: requireValue(input.DisableApiStop) } };
  if (input.EbsOptimized !== undefined)
    return { spec: { ebsOptimized: requireValue(input.EbsOptimized) }, stoppedOnly: true };
  if (input.InstanceInitiatedShutdownBehavior !== undefined)
    return { spec: { shutdownBehavior: shutdownBehaviorOf(input) } };
  if (input.UserData !== undefined)
    // The wire has decoded one layer of base64; what is stored and told to guests is the base64 of the data itself.
    return {
      spec: { userData: readUserData(Buffer.from(input.UserData.Value ?? '').toString('base64')) ?? '' },
      stoppedOnly: true,
    };
  if (input.InstanceType === undefined) return { spec: {} };
  const size = sizeFor(requireValue(input.InstanceType), row);
  return { spec: { instanceType: size.name }, size, stoppedOnly: true };
};

const shutdownBehaviorOf = ({ InstanceInitiatedShutdownBehavior: given }: Input): 'stop' | 'terminate' => {
  const value = given?.Value;
  if (value === 'stop' || value === 'terminate') return value;
  throw new PandoError(
    'InvalidParameterValue',
    `Value (${value?.slice(0, 64)}) for parameter instanceInitiatedShutdownBehavior is invalid.`,
  );
};

/** Empty user data is none. */
const merged = (spec: InstanceSpec, change: Partial<InstanceSpec>): InstanceSpec => {
  const { userData, ...rest } = { ...spec, ...change };
  return userData === undefined || userData === '' ? rest : { ...rest, userData };
};

const assertAlive = (row: InstanceRow): void => {
  if (row.state === 'terminated' || row.state === 'shutting-down')
    throw new PandoError(
      'IncorrectInstanceState',
      `The instance '${row.id}' is not in a state in which it can be modified.`,
    );
};

/** The region changes the interface and tells the devices; then the cell's copy follows, unless a newer change has been. */
const changeInterface = async (input: Input, context: CellContext): Promise<void> => {
  const { db, region } = context.services;
  const [row] = await findInstances(context, [input.InstanceId]);
  if (row === undefined) return;
  assertAlive(row);
  const sourceDestCheck =
    input.SourceDestCheck === undefined ? undefined : requireValue(input.SourceDestCheck);
  const params = { accountId: row.account_id, instanceId: row.id, sourceDestCheck };
  const changed = await region
    .call('region.changeInterface', {
      ...params,
      groupIds: input.Groups === undefined ? undefined : [...input.Groups],
      dryRun: input.DryRun === true,
    })
    .catch((error: unknown) => {
      if (PandoError.from(error).code !== 'InvalidNetworkInterfaceID.NotFound') throw error;
      throw new PandoError(
        'IncorrectInstanceState',
        `The instance '${row.id}' has no network interface now.`,
      );
    });
  await db.transaction(async (tx) => {
    const now = await lockOne(context, tx, row.id);
    const { spec } = now;
    if ((spec.networkVersion ?? 0) >= changed.version) return;
    const { groups, version: networkVersion } = changed;
    const copy = { groups, networkVersion, sourceDestCheck: changed.sourceDestCheck };
    // The guest reads the groups' names, of which the region's state has none.
    const told = input.Groups === undefined ? {} : metadataDue(now);
    await changeInstance(tx, row.id, { spec: { ...spec, ...copy }, ...told });
  });
  context.metadataChanged();
};

const changeRow = (input: Input, context: CellContext): Promise<void> =>
  context.services.db.transaction(async (tx) => {
    const row = await lockOne(context, tx, input.InstanceId);
    assertAlive(row);
    refuseUnsupported(input, row);
    const { spec, size, stoppedOnly } = wantedChange(input, row);
    if (stoppedOnly) {
      permit('modifyStopped', row.id, row.state);
      assertNotMigrating(row, 'modifyStopped');
    }
    endDryRun(input);
    const change: InstanceChange = {
      spec: merged(row.spec, spec),
      ...(size === undefined
        ? {}
        : { vcpus_milli: size.vcpusMilli, memory_mib: size.memoryMib, network_mbps: size.networkMbps }),
    };
    await changeInstance(tx, row.id, change);
  });

export const modifyInstanceAttribute = async (
  given: Input,
  context: CellContext,
): Promise<Out<'ModifyInstanceAttribute'>> => {
  const input = normalized(given);
  assertOne(input);
  if (input.Groups !== undefined || input.SourceDestCheck !== undefined)
    await changeInterface(input, context);
  else await changeRow(input, context);
  return {};
};
