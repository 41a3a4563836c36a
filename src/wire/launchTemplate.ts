/**
 * RunInstances from a launch template: what the request says overrides what the template says. Structures are overridden member by
 * member. Of lists, block devices are matched by their device, interfaces by their index, tags by resource type and key; other lists are
 * overridden as a whole. A request cannot take away what a template gives, as at EC2.
 */
import { PandoError } from '#contracts/errors.ts';
import type { Tag } from './filters.ts';
import type { TagSpecification } from './tags.ts';
import type { In, WireInput } from './types.ts';

type Launch = In<'RunInstances'>;
type Data = NonNullable<In<'CreateLaunchTemplate'>['LaunchTemplateData']>;
type Interface = NonNullable<Launch['NetworkInterfaces']>[number];
type Mapping = NonNullable<Launch['BlockDeviceMappings']>[number];

/** The request as if it said itself what the template says. @throws UnsupportedOperation for what only fleets can launch from */
export const mergeLaunchTemplate = (data: Data, request: Launch): Launch => {
  const { RamDiskId, ElasticGpuSpecifications, InstanceRequirements, ...template } = data;
  if (InstanceRequirements !== undefined && request.InstanceType === undefined)
    throw new PandoError(
      'UnsupportedOperation',
      'A launch template with InstanceRequirements cannot be launched from without an InstanceType.',
    );
  const groups =
    request.SecurityGroupIds?.length || request.SecurityGroups?.length
      ? { SecurityGroupIds: request.SecurityGroupIds, SecurityGroups: request.SecurityGroups }
      : {};
  // Members of one name have one shape in both, but for how many of them are required: `test/wire/launchTemplate.test.ts` compares them.
  const base = {
    ...template,
    ...(RamDiskId === undefined ? {} : { RamdiskId: RamDiskId }),
    ...(ElasticGpuSpecifications === undefined ? {} : { ElasticGpuSpecification: ElasticGpuSpecifications }),
  } as unknown as Partial<Launch>;
  return withoutAbsent({
    ...mergeMembers(base, request),
    ...groups,
    BlockDeviceMappings: mergeBy(base.BlockDeviceMappings, request.BlockDeviceMappings, deviceOf),
    NetworkInterfaces: mergeBy(base.NetworkInterfaces, request.NetworkInterfaces, indexOf),
    TagSpecifications: mergeTagsOf(base.TagSpecifications, request.TagSpecifications),
  });
};

/** The same for an input that is not read yet: as it came over the wire. */
export const mergeLaunchTemplateInput = (data: WireInput, request: WireInput): WireInput => ({
  ...mergeLaunchTemplate(data as Data, request as Launch),
});

const deviceOf = (mapping: Mapping): string | undefined => mapping.DeviceName;
const indexOf = (nic: Interface): number => nic.DeviceIndex ?? 0;

const isStructure = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Date) &&
  !(value instanceof Uint8Array);

/** `over` on top of `under`, member by member; what `over` leaves out, or has an empty list for, is as in `under`. */
const mergeMembers = <T extends object>(under: Partial<T>, over: T): T => {
  const merged: Record<string, unknown> = { ...under };
  for (const [name, value] of Object.entries(over)) {
    if (value === undefined || (Array.isArray(value) && value.length === 0)) continue;
    const below = merged[name];
    merged[name] = isStructure(below) && isStructure(value) ? mergeMembers(below, value) : value;
  }
  return merged as T;
};

/** One of each key; those of both are merged. */
const mergeBy = <T extends object>(
  under: readonly T[] | undefined,
  over: readonly T[] | undefined,
  keyOf: (item: T) => unknown,
): T[] | undefined => {
  if (under === undefined || over === undefined) return [...(over ?? under ?? [])];
  const rest = over.filter((item) => !under.some((below) => keyOf(below) === keyOf(item)));
  const merged = under.map((below) => {
    const above = over.find((item) => keyOf(item) === keyOf(below));
    return above === undefined ? below : mergeMembers<T>(below, above);
  });
  return [...merged, ...rest];
};

const mergeTagsOf = <T extends TagSpecification>(
  under: readonly T[] | undefined,
  over: readonly T[] | undefined,
): T[] | undefined => {
  if (under === undefined || over === undefined) return [...(over ?? under ?? [])];
  const rest = over.filter((one) => !under.some((below) => below.ResourceType === one.ResourceType));
  const merged = under.map((below) => {
    const above = over.find((one) => one.ResourceType === below.ResourceType);
    return above === undefined ? below : { ...below, Tags: mergeKeys(below.Tags ?? [], above.Tags ?? []) };
  });
  return [...merged, ...rest];
};

const mergeKeys = (under: readonly Tag[], over: readonly Tag[]): Tag[] => [
  ...under.filter((tag) => !over.some(({ Key }) => Key === tag.Key)),
  ...over,
];

/** Lists that neither side gave are left out, so that what is asked for is told apart from what is not. */
const withoutAbsent = (launch: Launch): Launch => {
  const entries = Object.entries(launch).filter(
    ([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0),
  );
  return Object.fromEntries(entries) as unknown as Launch;
};
