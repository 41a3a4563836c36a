/** Reads RunInstances: what is asked for, checked as far as the request alone allows. */
import { createHash } from 'node:crypto';
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import { parseTagSpecifications, type ValidTag } from '#wire/tags.ts';
import type { In } from '#wire/types.ts';
import { defaultInstanceType, type InstanceSize, sizeOf } from '../instance-types.ts';
import { clientTokenCharsMax, instancesPerRequestMax, userDataBytesMax } from '../limits.ts';
import type { InstanceSpec } from '../store/instances.ts';

export interface RunRequest {
  readonly min: number;
  readonly max: number;
  readonly imageId: string;
  readonly size: InstanceSize;
  readonly keyName?: string;
  readonly subnetId?: string;
  readonly zone?: string;
  readonly groupIds: readonly string[];
  readonly groupNames: readonly string[];
  readonly privateIp?: string;
  /** Undefined: as the subnet says. */
  readonly publicIp?: boolean;
  readonly userData?: string;
  readonly clientToken?: string;
  readonly requestHash: string;
  readonly instanceTags: readonly ValidTag[];
  readonly volumeTags: readonly ValidTag[];
  readonly root: {
    readonly deviceName?: string;
    readonly sizeGib?: number;
    readonly type: string;
    readonly deleteOnTermination: boolean;
  };
  readonly attributes: Pick<
    InstanceSpec,
    | 'disableApiTermination'
    | 'disableApiStop'
    | 'shutdownBehavior'
    | 'ebsOptimized'
    | 'monitoring'
    | 'cpuCredits'
    | 'metadata'
  >;
}

type Input = In<'RunInstances'>;

const combination = (message: string): PandoError => new PandoError('InvalidParameterCombination', message);
const invalid = (message: string): PandoError => new PandoError('InvalidParameterValue', message);

/** What Pando does not have is refused by name, never ignored: a client must not believe that it got it. */
const refuseUnsupported = (input: Input): void => {
  const unsupported: readonly [string, unknown][] = [
    ['LaunchTemplate', input.LaunchTemplate],
    ['IamInstanceProfile', input.IamInstanceProfile],
    ['InstanceMarketOptions', input.InstanceMarketOptions],
    ['ElasticGpuSpecification', input.ElasticGpuSpecification],
    ['LicenseSpecifications', input.LicenseSpecifications],
    ['HibernationOptions', input.HibernationOptions?.Configured === true ? true : undefined],
    ['EnclaveOptions', input.EnclaveOptions?.Enabled === true ? true : undefined],
    ['Ipv6AddressCount', input.Ipv6AddressCount],
    ['Ipv6Addresses', input.Ipv6Addresses],
    ['Placement.GroupName', input.Placement?.GroupName],
    ['Placement.HostId', input.Placement?.HostId],
  ];
  const found = unsupported.find(([, value]) => value !== undefined && value !== '');
  if (found !== undefined)
    throw new PandoError('UnsupportedOperation', `The parameter ${found[0]} is not supported.`);
  const tenancy = input.Placement?.Tenancy;
  if (tenancy !== undefined && tenancy !== 'default')
    throw new PandoError('UnsupportedOperation', `The tenancy '${tenancy}' is not supported.`);
};

const readCounts = (input: Input): { min: number; max: number } => {
  const { MinCount: min, MaxCount: max } = input;
  if (min === undefined || max === undefined)
    throw new PandoError(
      'MissingParameter',
      `The request must contain the parameter ${min === undefined ? 'MinCount' : 'MaxCount'}`,
    );
  if (min < 1) throw invalid(`Value (${min}) for parameter minCount is invalid. Expecting at least 1.`);
  if (max < min)
    throw invalid(`Value (${max}) for parameter maxCount is invalid. Must not be less than minCount.`);
  if (max > instancesPerRequestMax)
    throw new PandoError(
      'InstanceLimitExceeded',
      `You have requested more instances (${max}) than your limit of ${instancesPerRequestMax} in one request.`,
    );
  return { min, max };
};

interface NetworkPart {
  readonly subnetId?: string;
  readonly groupIds: readonly string[];
  readonly groupNames: readonly string[];
  readonly privateIp?: string;
  readonly publicIp?: boolean;
}

const readNetwork = (input: Input): NetworkPart => {
  const [nic, ...more] = input.NetworkInterfaces ?? [];
  if (nic === undefined)
    return {
      groupIds: input.SecurityGroupIds ?? [],
      groupNames: input.SecurityGroups ?? [],
      ...(input.SubnetId === undefined ? {} : { subnetId: input.SubnetId }),
      ...(input.PrivateIpAddress === undefined ? {} : { privateIp: input.PrivateIpAddress }),
    };
  if (more.length > 0) throw new PandoError('UnsupportedOperation', 'An instance has one network interface.');
  if (nic.NetworkInterfaceId !== undefined)
    throw new PandoError(
      'UnsupportedOperation',
      'An existing network interface cannot be given to a launch.',
    );
  if (nic.AssociateCarrierIpAddress)
    throw new PandoError('UnsupportedOperation', 'The zone has no carrier gateway.');
  if (nic.DeviceIndex !== undefined && nic.DeviceIndex !== 0)
    throw invalid('The primary network interface must have the device index 0.');
  if (
    input.SubnetId !== undefined ||
    input.SecurityGroupIds?.length ||
    input.SecurityGroups?.length ||
    input.PrivateIpAddress
  )
    throw combination(
      'Network interfaces and an instance-level subnet ID, security groups or private IP address may not be specified on the same request',
    );
  return {
    groupIds: nic.Groups ?? [],
    groupNames: [],
    ...(nic.SubnetId === undefined ? {} : { subnetId: nic.SubnetId }),
    ...(nic.PrivateIpAddress === undefined ? {} : { privateIp: nic.PrivateIpAddress }),
    ...(nic.AssociatePublicIpAddress === undefined ? {} : { publicIp: nic.AssociatePublicIpAddress }),
  };
};

const volumeTypes: ReadonlySet<string> = new Set(['gp2', 'gp3', 'standard', 'io1', 'io2', 'st1', 'sc1']);
const rootGibMax = 16_384;

const readRoot = (input: Input): RunRequest['root'] => {
  const [mapping, ...more] = input.BlockDeviceMappings ?? [];
  if (more.length > 0)
    throw new PandoError('UnsupportedOperation', 'An instance has one disk, its root device.');
  const ebs = mapping?.Ebs;
  const sizeGib = ebs?.VolumeSize;
  if (sizeGib !== undefined && (sizeGib < 1 || sizeGib > rootGibMax))
    throw new PandoError(
      'InvalidBlockDeviceMapping',
      `Volume of size ${sizeGib}GB is outside 1 to ${rootGibMax}.`,
    );
  if (ebs?.SnapshotId !== undefined)
    throw new PandoError('UnsupportedOperation', 'Snapshots are not supported.');
  const type = ebs?.VolumeType ?? 'gp3';
  if (!volumeTypes.has(type)) throw invalid(`Value (${type}) for parameter volumeType is invalid.`);
  return {
    type,
    deleteOnTermination: ebs?.DeleteOnTermination ?? true,
    ...(mapping?.DeviceName === undefined ? {} : { deviceName: mapping.DeviceName }),
    ...(sizeGib === undefined ? {} : { sizeGib }),
  };
};

/** User data as clients send it: base64. @throws InvalidUserData.Malformed */
export const readUserData = (text: string): string | undefined => {
  if (text === '') return undefined;
  if (!/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(text))
    throw new PandoError('InvalidUserData.Malformed', 'Invalid BASE64 encoding of user data');
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length > userDataBytesMax) throw invalid(`User data is limited to ${userDataBytesMax} bytes`);
  return bytes.toString('base64');
};

type MetadataInput = NonNullable<Input['MetadataOptions']>;
const hopLimitMax = 64;

/** The metadata options after a change; @throws InvalidParameterValue */
export const readMetadataOptions = (
  input: Omit<MetadataInput, 'HttpProtocolIpv6'> | undefined,
  before: InstanceSpec['metadata'] = {
    httpTokens: 'optional',
    httpEndpoint: 'enabled',
    hopLimit: 1,
    instanceTags: 'disabled',
  },
): InstanceSpec['metadata'] => {
  const hopLimit = input?.HttpPutResponseHopLimit ?? before.hopLimit;
  if (hopLimit < 1 || hopLimit > hopLimitMax)
    throw invalid(
      `Value (${hopLimit}) for parameter HttpPutResponseHopLimit is invalid. Expecting 1 to ${hopLimitMax}.`,
    );
  return {
    httpTokens: input?.HttpTokens ?? before.httpTokens,
    httpEndpoint: input?.HttpEndpoint ?? before.httpEndpoint,
    hopLimit,
    instanceTags: input?.InstanceMetadataTags ?? before.instanceTags,
  };
};

const readAttributes = (input: Input): RunRequest['attributes'] => ({
  disableApiTermination: input.DisableApiTermination ?? false,
  disableApiStop: input.DisableApiStop ?? false,
  shutdownBehavior: input.InstanceInitiatedShutdownBehavior === 'terminate' ? 'terminate' : 'stop',
  ebsOptimized: input.EbsOptimized ?? false,
  monitoring: input.Monitoring?.Enabled ?? false,
  cpuCredits: input.CreditSpecification?.CpuCredits === 'standard' ? 'standard' : 'unlimited',
  metadata: readMetadataOptions(input.MetadataOptions),
});

const readToken = (token: string | undefined): string | undefined => {
  if (token === undefined || token === '') return undefined;
  if (token.length > clientTokenCharsMax)
    throw invalid(`The client token is longer than ${clientTokenCharsMax} characters.`);
  return token;
};

/** What two requests with one token must agree on: everything but the token and DryRun, in whatever order it was sent. */
const hashOf = ({ ClientToken: _token, DryRun: _dry, ...rest }: Input): string => {
  const canonical = JSON.stringify(rest, (_key, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
  return createHash('sha256').update(canonical).digest('hex');
};

export const readRunInput = (input: Input): RunRequest => {
  refuseUnsupported(input);
  if (input.ImageId === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter ImageId');
  const tags = parseTagSpecifications(input.TagSpecifications, ['instance', 'volume', 'network-interface']);
  const userData = readUserData(input.UserData ?? '');
  const clientToken = readToken(input.ClientToken);
  const zone = input.Placement?.AvailabilityZone;
  return {
    ...readCounts(input),
    ...readNetwork(input),
    imageId: parseId('image', input.ImageId),
    size: sizeOf(input.InstanceType ?? defaultInstanceType),
    requestHash: hashOf(input),
    instanceTags: tags.get('instance') ?? [],
    volumeTags: tags.get('volume') ?? [],
    root: readRoot(input),
    attributes: readAttributes(input),
    ...(zone === undefined || zone === '' ? {} : { zone }),
    ...(input.KeyName === undefined ? {} : { keyName: input.KeyName }),
    ...(userData === undefined ? {} : { userData }),
    ...(clientToken === undefined ? {} : { clientToken }),
  };
};
