/** The root device of RunInstances: the one entry of its block device mappings that has an effect. */
import { PandoError } from '#contracts/errors.ts';
import type { In } from '#wire/types.ts';

type Mapping = NonNullable<In<'RunInstances'>['BlockDeviceMappings']>[number];

export interface RootDevice {
  /** As the launch calls it; absent: as the image does. */
  readonly deviceName?: string;
  readonly sizeGib?: number;
  readonly type: string;
  readonly deleteOnTermination: boolean;
  /** The snapshot that it names, which must be the image's own. */
  readonly snapshotId?: string;
}

/** Those that EC2 lets a root device be without a number of operations. */
const volumeTypes: ReadonlySet<string> = new Set(['gp2', 'gp3', 'standard']);
const rootGibMax = 16_384;
const gp3IopsDefault = 3_000;
const gp3ThroughputDefault = 125;
const isGp3 = (type: string | undefined): boolean => type === undefined || type === 'gp3';

/** A root device that is kept, encrypted or faster than others is not built: nobody may believe that he got one. */
const refuseParts = ({ Ebs: ebs, NoDevice, VirtualName }: Mapping): void => {
  const found = [
    ['Encrypted', ebs?.Encrypted === true ? true : undefined],
    ['KmsKeyId', ebs?.KmsKeyId],
    ['OutpostArn', ebs?.OutpostArn],
    ['DeleteOnTermination=false', ebs?.DeleteOnTermination === false ? false : undefined],
    ['Iops', ebs?.Iops === gp3IopsDefault && isGp3(ebs.VolumeType) ? undefined : ebs?.Iops],
    ['Throughput', ebs?.Throughput === gp3ThroughputDefault ? undefined : ebs?.Throughput],
    ['VolumeInitializationRate', ebs?.VolumeInitializationRate],
    ['EbsCardIndex', ebs?.EbsCardIndex],
    ['AvailabilityZone', ebs?.AvailabilityZone],
    ['AvailabilityZoneId', ebs?.AvailabilityZoneId],
    ['NoDevice', NoDevice],
    ['VirtualName', VirtualName],
  ].find(([, value]) => value !== undefined);
  if (found !== undefined)
    throw new PandoError('UnsupportedOperation', `The root device's ${found[0]} is not supported.`);
};

/**
 * What images elsewhere call their root, and scripts with them: it is the root here whatever the image calls it, as nothing else
 * can be meant by it while an instance has one disk.
 */
const rootNames: ReadonlySet<string> = new Set(['/dev/sda1', '/dev/xvda', '/dev/sda']);

export const isRootName = (name: string, ofImage: string): boolean => name === ofImage || rootNames.has(name);

/** An image here has no device but its root: who leaves another one out gets what he asks for. */
const leavesOut = ({ Ebs, NoDevice, VirtualName, DeviceName = '' }: Mapping): boolean =>
  NoDevice !== undefined && Ebs === undefined && VirtualName === undefined && !rootNames.has(DeviceName);

/** @throws InvalidBlockDeviceMapping, InvalidParameterValue; UnsupportedOperation for what a root cannot be, and for further devices */
export const readRoot = (mappings: readonly Mapping[] = []): RootDevice => {
  const [mapping, ...more] = mappings.filter((each) => !leavesOut(each));
  if (more.length > 0)
    throw new PandoError('UnsupportedOperation', 'An instance has one disk, its root device.');
  const ebs = mapping?.Ebs;
  const sizeGib = ebs?.VolumeSize;
  if (sizeGib !== undefined && (sizeGib < 1 || sizeGib > rootGibMax))
    throw new PandoError(
      'InvalidBlockDeviceMapping',
      `Volume of size ${sizeGib}GB is outside 1 to ${rootGibMax}.`,
    );
  if (mapping !== undefined) refuseParts(mapping);
  const type = ebs?.VolumeType ?? 'gp3';
  if (!volumeTypes.has(type))
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${type.slice(0, 64)}) for parameter volumeType is invalid.`,
    );
  return {
    type,
    deleteOnTermination: true,
    ...(mapping?.DeviceName === undefined ? {} : { deviceName: mapping.DeviceName }),
    ...(sizeGib === undefined ? {} : { sizeGib }),
    ...(ebs?.SnapshotId === undefined ? {} : { snapshotId: ebs.SnapshotId }),
  };
};
