/** Reads RunInstances: what is asked for, checked as far as the request alone allows. */
import { hash } from 'node:crypto';
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import type { ProfileReference } from '#contracts/profiles.ts';
import type { MetadataDefaults } from '#contracts/region.ts';
import { wireLimits } from '#wire/limits.ts';
import { parseTagSpecifications, type ValidTag } from '#wire/tags.ts';
import type { In } from '#wire/types.ts';
import { creditsDefault, defaultInstanceType, type InstanceSize, sizeOf } from '../instance-types.ts';
import { clientTokenCharsMax, instancesPerRequestMax, userDataCharsMax } from '../limits.ts';
import type { InstanceSpec } from '../store/instances.ts';
import { readTenancy } from './host-placement.ts';
import { readProfile } from './instance-profile.ts';
import { readReservationChoice } from './instance-reservation.ts';
import { type NetworkPart, readNetwork } from './run-network.ts';
import { type RootDevice, readRoot } from './run-root.ts';
import { checkCpuOptions, refuseUnsupported } from './run-unsupported.ts';

/** What a client token stands for. */
export interface TokenPart {
  readonly clientToken?: string;
  readonly requestHash: string;
}

export interface RunRequest extends NetworkPart, TokenPart {
  readonly min: number;
  readonly max: number;
  readonly imageId: string;
  readonly size: InstanceSize;
  readonly keyName?: string;
  readonly zone?: string;
  /** Must be that of the subnet's zone. */
  readonly zoneId?: string;
  readonly userData?: string;
  readonly placementGroup?: { readonly id?: string; readonly name?: string };
  /** Of the group of partitions; absent: the one that is due. */
  readonly partition?: number;
  readonly tenancy: 'default' | 'dedicated' | 'host';
  /** Of the tenancy `host`: which one; absent: any that takes instances by itself. */
  readonly hostId?: string;
  readonly affinity?: 'host';
  readonly instanceProfile?: ProfileReference;
  readonly instanceTags: readonly ValidTag[];
  readonly volumeTags: readonly ValidTag[];
  readonly interfaceTags: readonly ValidTag[];
  readonly root: RootDevice;
  readonly attributes: Pick<
    InstanceSpec,
    | 'disableApiTermination'
    | 'disableApiStop'
    | 'shutdownBehavior'
    | 'autoRecovery'
    | 'ebsOptimized'
    | 'monitoring'
    | 'cpuCredits'
    | 'capacityReservation'
    | 'capacityReservationTarget'
    | 'metadata'
  >;
  /** As they were given: what they leave open is the image's to say. */
  readonly metadataOptions: MetadataInput | undefined;
}

type Input = In<'RunInstances'>;

const invalid = (message: string): PandoError => new PandoError('InvalidParameterValue', message);

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

const { userDataBytesMax } = wireLimits;
const tooMuchUserData = (): PandoError => invalid(`User data is limited to ${userDataBytesMax} bytes`);

/** User data as clients send it: base64, in lines or not. @throws InvalidUserData.Malformed */
export const readUserData = (text: string): string | undefined => {
  if (text === '') return undefined;
  // The length is looked at before anything reads the text whole.
  if (text.length > userDataCharsMax) throw tooMuchUserData();
  const unwrapped = text.replaceAll(/\s+/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(unwrapped))
    throw new PandoError('InvalidUserData.Malformed', 'Invalid BASE64 encoding of user data');
  const bytes = Buffer.from(unwrapped, 'base64');
  if (bytes.length > userDataBytesMax) throw tooMuchUserData();
  return bytes.toString('base64');
};

type MetadataInput = NonNullable<Input['MetadataOptions']>;
const hopLimitMax = 64;

/** EC2's, without an image that says more. */
const metadataDefaults: InstanceSpec['metadata'] = {
  httpTokens: 'optional',
  httpEndpoint: 'enabled',
  hopLimit: 1,
  instanceTags: 'disabled',
};

/**
 * What a launch gets that says nothing itself: what the account has set, else what the image says (one for version 2 demands a
 * token, within two hops as at EC2).
 */
export const metadataDefaultsOf = (
  imdsSupport: 'v2.0' | undefined,
  ofAccount: MetadataDefaults = {},
): InstanceSpec['metadata'] => ({
  ...metadataDefaults,
  ...(imdsSupport === undefined ? {} : ({ httpTokens: 'required', hopLimit: 2 } as const)),
  ...ofAccount,
});

/** The metadata options after a change; @throws InvalidParameterValue */
export const readMetadataOptions = (
  input: MetadataInput | undefined,
  before: InstanceSpec['metadata'] = metadataDefaults,
): InstanceSpec['metadata'] => {
  const hopLimit = input?.HttpPutResponseHopLimit ?? before.hopLimit;
  if (hopLimit < 1 || hopLimit > hopLimitMax)
    throw invalid(
      `Value (${hopLimit}) for parameter HttpPutResponseHopLimit is invalid. Expecting 1 to ${hopLimitMax}.`,
    );
  if (input?.HttpProtocolIpv6 === 'enabled')
    throw new PandoError(
      'UnsupportedOperation',
      'HttpProtocolIpv6 is not supported: the metadata service has no IPv6 address.',
    );
  return {
    httpTokens: oneOf('HttpTokens', ['optional', 'required'], input?.HttpTokens, before.httpTokens),
    httpEndpoint: oneOf('HttpEndpoint', ['enabled', 'disabled'], input?.HttpEndpoint, before.httpEndpoint),
    hopLimit,
    instanceTags: oneOf(
      'InstanceMetadataTags',
      ['disabled', 'enabled'],
      input?.InstanceMetadataTags,
      before.instanceTags,
    ),
  };
};

/** One of a parameter's words, or its default. @throws InvalidParameterValue */
export const oneOf = <T extends string>(
  name: string,
  words: readonly T[],
  given: string | undefined,
  otherwise: T,
): T => {
  if (given === undefined) return otherwise;
  const word = words.find((one) => one === given);
  if (word !== undefined) return word;
  throw invalid(
    `Value (${given.slice(0, 64)}) for parameter ${name} is invalid. Expecting ${words.join(' or ')}.`,
  );
};

/** Whether an instance whose VM ended by itself is started again. @throws InvalidParameterValue */
export const readAutoRecovery = (
  name: string,
  given: string | undefined,
  before: 'default' | 'disabled' = 'default',
): 'default' | 'disabled' => oneOf(name, ['default', 'disabled'], given, before);

const readAttributes = (input: Input, size: InstanceSize): RunRequest['attributes'] => ({
  disableApiTermination: input.DisableApiTermination ?? false,
  disableApiStop: input.DisableApiStop ?? false,
  shutdownBehavior: oneOf(
    'InstanceInitiatedShutdownBehavior',
    ['stop', 'terminate'],
    input.InstanceInitiatedShutdownBehavior,
    'stop',
  ),
  autoRecovery: readAutoRecovery('MaintenanceOptions.AutoRecovery', input.MaintenanceOptions?.AutoRecovery),
  ebsOptimized: input.EbsOptimized ?? false,
  monitoring: input.Monitoring?.Enabled ?? false,
  cpuCredits: oneOf(
    'CreditSpecification.CpuCredits',
    ['standard', 'unlimited'],
    input.CreditSpecification?.CpuCredits,
    creditsDefault(size.name),
  ),
  ...readReservationChoice(input.CapacityReservationSpecification),
  metadata: readMetadataOptions(input.MetadataOptions),
});

const checkToken = (token: string | undefined): string | undefined => {
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
  return hash('sha256', canonical);
};

export const readToken = (input: Input): TokenPart => {
  const clientToken = checkToken(input.ClientToken);
  return { requestHash: hashOf(input), ...(clientToken === undefined ? {} : { clientToken }) };
};

const readPlacementGroup = ({ Placement: placement }: Input): RunRequest['placementGroup'] => {
  const { GroupId: id, GroupName: name } = placement ?? {};
  if (!id && !name) return undefined;
  return { ...(id ? { id } : {}), ...(name ? { name } : {}) };
};

/** @throws InvalidParameterCombination, InvalidParameterValue */
const readPartition = ({ Placement: placement }: Input): number | undefined => {
  const { PartitionNumber: partition, GroupId: id, GroupName: name } = placement ?? {};
  if (partition === undefined) return undefined;
  if (!id && !name)
    throw new PandoError(
      'InvalidParameterCombination',
      'A partition number can be given with a placement group alone.',
    );
  return partition;
};

/** `input` is all that is asked for, `given` what the client sent, which a launch template may complete. */
export const readRunInput = (input: Input, given: Input = input): RunRequest => {
  refuseUnsupported(input);
  if (input.ImageId === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter ImageId');
  const tags = parseTagSpecifications(input.TagSpecifications, ['instance', 'volume', 'network-interface']);
  const userData = readUserData(input.UserData ?? '');
  const placementGroup = readPlacementGroup(input);
  const partition = readPartition(input);
  const instanceProfile = readProfile(input.IamInstanceProfile);
  const { AvailabilityZone: zone, AvailabilityZoneId: zoneId } = input.Placement ?? {};
  const size = sizeOf(input.InstanceType ?? defaultInstanceType);
  checkCpuOptions(input, size);
  return {
    ...readCounts(input),
    ...readNetwork(input),
    imageId: parseId('image', input.ImageId),
    size,
    ...readToken(given),
    instanceTags: tags.get('instance') ?? [],
    volumeTags: tags.get('volume') ?? [],
    interfaceTags: tags.get('network-interface') ?? [],
    root: readRoot(input.BlockDeviceMappings),
    attributes: readAttributes(input, size),
    metadataOptions: input.MetadataOptions,
    ...(zone === undefined || zone === '' ? {} : { zone }),
    ...(zoneId === undefined || zoneId === '' ? {} : { zoneId }),
    ...(input.KeyName === undefined ? {} : { keyName: input.KeyName }),
    ...(userData === undefined ? {} : { userData }),
    ...(placementGroup === undefined ? {} : { placementGroup }),
    ...(partition === undefined ? {} : { partition }),
    ...readTenancy(input.Placement),
    ...(instanceProfile === undefined ? {} : { instanceProfile }),
  };
};
