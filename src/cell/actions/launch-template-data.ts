/** GetLaunchTemplateData: what a launch template needs to launch the like of an instance. */
import type {
  _InstanceType as InstanceType,
  ResponseLaunchTemplateData,
  VolumeType,
} from '@aws-sdk/client-ec2';
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { findInstances } from './find.ts';
import { autoRecoveryOf } from './render.ts';

/** Tags that EC2 has set say what this instance is, not what its like would be. */
const tagsOf = (row: InstanceRow): ResponseLaunchTemplateData['TagSpecifications'] => {
  const own = row.tags.filter(({ Key }) => !Key.toLowerCase().startsWith('aws:'));
  return own.length === 0 ? undefined : [{ ResourceType: 'instance', Tags: [...own] }];
};

const dataOf = (row: InstanceRow): ResponseLaunchTemplateData => {
  const { spec } = row;
  return {
    ImageId: spec.image.imageId,
    // A name of this region's catalogue, which EC2's list of types need not have.
    InstanceType: spec.instanceType as InstanceType,
    KeyName: spec.keyName,
    ...(spec.instanceProfile === undefined ? {} : { IamInstanceProfile: { Arn: spec.instanceProfile.arn } }),
    UserData: spec.userData,
    EbsOptimized: spec.ebsOptimized,
    Monitoring: { Enabled: spec.monitoring },
    DisableApiTermination: spec.disableApiTermination,
    DisableApiStop: spec.disableApiStop,
    InstanceInitiatedShutdownBehavior: spec.shutdownBehavior,
    CreditSpecification: { CpuCredits: spec.cpuCredits },
    MaintenanceOptions: { AutoRecovery: autoRecoveryOf(row) },
    MetadataOptions: {
      HttpTokens: spec.metadata.httpTokens,
      HttpEndpoint: spec.metadata.httpEndpoint,
      HttpPutResponseHopLimit: spec.metadata.hopLimit,
      InstanceMetadataTags: spec.metadata.instanceTags,
    },
    Placement: {
      AvailabilityZone: spec.zone,
      Tenancy: spec.tenancy ?? 'default',
      ...(spec.placementGroup === undefined ? {} : { GroupName: spec.placementGroup.groupName }),
    },
    BlockDeviceMappings: [
      {
        DeviceName: spec.image.rootDeviceName,
        Ebs: {
          DeleteOnTermination: spec.volumeDeleteOnTermination,
          VolumeSize: spec.volumeSizeGib,
          VolumeType: spec.volumeType as VolumeType,
        },
      },
    ],
    NetworkInterfaces: [
      {
        DeviceIndex: 0,
        SubnetId: spec.subnetId,
        Groups: spec.groups.map(({ groupId }) => groupId),
        AssociatePublicIpAddress: spec.publicIp,
        DeleteOnTermination: true,
        Description: spec.interfaceDescription,
      },
    ],
    TagSpecifications: tagsOf(row),
  };
};

export const getLaunchTemplateData = async (
  input: In<'GetLaunchTemplateData'>,
  context: CellContext,
): Promise<Out<'GetLaunchTemplateData'>> => {
  const [row] = await findInstances(context, [input.InstanceId]);
  if (row === undefined || row.state === 'terminated')
    throw new PandoError('IncorrectInstanceState', `The instance '${input.InstanceId}' is terminated.`);
  endDryRun(input);
  return { LaunchTemplateData: dataOf(row) };
};
