/** Checks everything about a launch that lies outside the cell. Changes nothing but the claim of a client token. */
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import type { ProfileReference } from '#contracts/profiles.ts';
import type { ImageRecord } from '#contracts/region.ts';
import { assertTakesLaunches } from './account-cells.ts';
import { systemAccountId } from './accounts.ts';
import type { RegionConfig } from './config.ts';
import { reservedFirstHosts } from './default-vpc.ts';
import { resolveProfile } from './instance-profiles.ts';
import { type GroupFacts, type ImageFacts, readLaunchFacts, type SubnetFacts } from './launch-facts.ts';
import { claimLaunchToken, type TokenClaim } from './launch-tokens.ts';
import { notFound } from './not-found.ts';
import { type PlacementGroupName, resolvePlacementGroup } from './placement-groups.ts';
import { requireHost } from './private-addresses.ts';
import { quotaOf } from './quotas.ts';
import type { Region } from './region.ts';
import { metadataDefaultsIn } from './resources/metadata-defaults.ts';
import type { Database, Row } from './schema.ts';

export interface LaunchRequest {
  readonly accountId: string;
  readonly imageId: string;
  readonly keyName?: string | undefined;
  readonly subnetId?: string | undefined;
  readonly zone?: string | undefined;
  readonly groupIds: readonly string[];
  readonly groupNames: readonly string[];
  readonly privateIp?: string | undefined;
  readonly placementGroup?: PlacementGroupName | undefined;
  readonly instanceProfile?: ProfileReference | undefined;
  /** The cell that asks. */
  readonly cellId?: string | undefined;
  /** How many addresses there must be. */
  readonly count?: number | undefined;
  /** The client token, and the cell that it is claimed for. */
  readonly claim?: Omit<TokenClaim, 'accountId'> | undefined;
}

export const resolveLaunch = async (region: Region, request: LaunchRequest) => {
  const { db } = region;
  checkZone(region, request);
  const imageId = parseId('image', request.imageId);
  const subnetId = request.subnetId === undefined ? undefined : parseId('subnet', request.subnetId);
  const wanted = wantedGroups(request);
  const [facts, publicKey] = await Promise.all([
    readLaunchFacts(db, { ...request, imageId, subnetId, groupIds: wanted.ids, groupNames: wanted.names }),
    findKey(db, request),
  ]);
  assertTakesLaunches(facts.open);
  const image = shownImage(facts.image, request);
  const subnet = suitingSubnet(facts.subnet, request);
  if (request.privateIp !== undefined) requireHost(request.privateIp, subnet);
  const groups = await checkedGroups(db, region.config.limits, facts.groups, wanted, request, subnet.vpc_id);
  const freeAddresses = request.count === undefined ? undefined : freeIn(subnet, facts, request);
  const [placementGroup, instanceProfile] = await Promise.all([
    request.placementGroup && resolvePlacementGroup(region, request, request.placementGroup, subnet.zone),
    request.instanceProfile && resolveProfile(db, request.accountId, request.instanceProfile),
  ]);
  const metadataDefaults = metadataDefaultsIn(facts.defaults);
  // Last: what is refused above claims nothing.
  if (request.claim !== undefined)
    await claimLaunchToken(db, { accountId: request.accountId, ...request.claim });
  return {
    image: recordOf(image),
    ...(publicKey === undefined ? {} : { publicKey }),
    vpcId: subnet.vpc_id,
    subnetId: subnet.subnet_id,
    zone: subnet.zone,
    zoneId: region.config.zones.find((one) => one.name === subnet.zone)?.id,
    groups: groups.map((group) => ({ groupId: group.group_id, groupName: group.name })),
    mapPublicIp: subnet.map_public_ip,
    domainName: region.network.domainName,
    metadataDefaults,
    ...(placementGroup === undefined ? {} : { placementGroup }),
    ...(instanceProfile === undefined ? {} : { instanceProfile }),
    ...(freeAddresses === undefined ? {} : { freeAddresses }),
  };
};

const recordOf = (image: ImageFacts): ImageRecord => ({
  imageId: image.image_id,
  digest: image.digest,
  architecture: image.architecture,
  minMemoryMib: image.min_memory_mib,
  diskVirtualMib: image.disk_virtual_mib,
  rootDeviceName: image.root_device_name,
  ...(image.imds_support === null ? {} : { imdsSupport: 'v2.0' as const }),
});

/** Of the region's own public images the one that needs least: hosts show themselves fit with it. */
export const validationImage = async (db: Database): Promise<{ image?: ImageRecord }> => {
  const image = await db
    .selectFrom('image')
    .selectAll()
    .where('is_public', '=', true)
    .where('account_id', '=', systemAccountId)
    .orderBy('min_memory_mib')
    .orderBy('disk_virtual_mib')
    .orderBy('image_id')
    .limit(1)
    .executeTakeFirst();
  return image === undefined ? {} : { image: recordOf(image) };
};

const shownImage = (image: ImageFacts | null, request: LaunchRequest): ImageFacts => {
  if (image === null || !(image.is_public || image.account_id === request.accountId))
    throw notFound('image', request.imageId);
  if (image.deregistered)
    throw new PandoError(
      'InvalidAMIID.Unavailable',
      `The image id '[${request.imageId}]' is no longer available`,
    );
  return image;
};

const findKey = async (db: Database, request: LaunchRequest): Promise<string | undefined> => {
  if (request.keyName === undefined) return undefined;
  const key = await db
    .selectFrom('key_pair')
    .select('public_key')
    .where('account_id', '=', request.accountId)
    .where('name', '=', request.keyName)
    .executeTakeFirst();
  if (key === undefined)
    throw new PandoError(
      'InvalidKeyPair.NotFound',
      `The key pair '${request.keyName.slice(0, 255)}' does not exist`,
    );
  return key.public_key;
};

const checkZone = (region: Region, { zone }: LaunchRequest): void => {
  if (zone !== undefined && !region.config.zones.some((one) => one.name === zone))
    throw new PandoError('InvalidParameterValue', `Invalid availability zone: [${zone.slice(0, 64)}]`);
};

const suitingSubnet = (subnet: SubnetFacts | null, { subnetId, zone }: LaunchRequest): SubnetFacts => {
  if (subnet === null) {
    if (subnetId !== undefined) throw notFound('subnet', subnetId);
    throw new PandoError('MissingInput', 'No subnets found for the default VPC. Please specify a subnet.');
  }
  if (zone !== undefined && subnet.zone !== zone)
    throw new PandoError(
      'InvalidParameterValue',
      `The subnet '${subnetId}' is not in the availability zone '${zone}'`,
    );
  return subnet;
};

/**
 * Free addresses of the subnet, resting ones among them. A launch may lose them to another one all the same: this is for the error
 * that EC2 gives at once. @throws InsufficientFreeAddressesInSubnet, InvalidIPAddress.InUse
 */
const freeIn = (
  subnet: SubnetFacts,
  { taken, wanted_taken }: { readonly taken: number; readonly wanted_taken: boolean },
  { count = 0, privateIp }: LaunchRequest,
): number | undefined => {
  if (wanted_taken) throw new PandoError('InvalidIPAddress.InUse', `Address ${privateIp} is in use.`);
  const free = subnet.last_host - reservedFirstHosts + 1 - taken;
  // Of one wanted address the others say nothing.
  if (privateIp !== undefined) return undefined;
  if (free < count)
    throw new PandoError(
      'InsufficientFreeAddressesInSubnet',
      `There are not enough free addresses in subnet '${subnet.subnet_id}' to satisfy the requested number of instances.`,
    );
  return free;
};

interface WantedGroups {
  readonly ids: readonly string[];
  readonly names: readonly string[];
}

const wantedGroups = (request: Pick<LaunchRequest, 'groupIds' | 'groupNames'>): WantedGroups => {
  const ids = [...new Set(request.groupIds)].map((id) => parseId('securityGroup', id));
  const names = [...new Set(request.groupNames)];
  return { ids, names: ids.length + names.length === 0 ? ['default'] : names };
};

/** The groups that are named by id or name, all of them of this VPC; none named: the default one. @throws EC2's errors */
export const findGroups = async (
  db: Database,
  limits: RegionConfig['limits'],
  request: Pick<LaunchRequest, 'accountId' | 'groupIds' | 'groupNames'>,
  vpcId: string,
): Promise<readonly Pick<Row<'security_group'>, 'group_id' | 'name'>[]> => {
  const wanted = wantedGroups(request);
  const groups = await db
    .selectFrom('security_group')
    .select(['group_id', 'name', 'vpc_id'])
    .where('account_id', '=', request.accountId)
    .where((row) =>
      row.or([
        row('group_id', '=', row.fn.any(row.val(wanted.ids))),
        row.and([row('vpc_id', '=', vpcId), row('name', '=', row.fn.any(row.val(wanted.names)))]),
      ]),
    )
    .execute();
  return checkedGroups(db, limits, groups, wanted, request, vpcId);
};

/** The same of groups that were read. */
const checkedGroups = async (
  db: Database,
  limits: RegionConfig['limits'],
  groups: readonly GroupFacts[],
  { ids, names }: WantedGroups,
  request: Pick<LaunchRequest, 'accountId'>,
  vpcId: string,
): Promise<readonly GroupFacts[]> => {
  const missing =
    ids.find((id) => !groups.some((group) => group.group_id === id)) ??
    names.find((name) => !groups.some((group) => group.name === name && group.vpc_id === vpcId));
  if (missing !== undefined)
    throw new PandoError(
      'InvalidGroup.NotFound',
      `The security group '${missing.slice(0, 255)}' does not exist in VPC '${vpcId}'`,
    );
  const foreign = groups.find((group) => group.vpc_id !== vpcId);
  if (foreign !== undefined)
    throw new PandoError(
      'InvalidParameter',
      `Security group ${foreign.group_id} and the subnet belong to different networks.`,
    );
  // The launch path: one group, as most have, is always allowed.
  if (groups.length > 1) {
    const groupsMax = await quotaOf(db, limits, request.accountId, 'security-groups-per-interface');
    if (groups.length > groupsMax)
      throw new PandoError(
        'SecurityGroupsPerInterfaceLimitExceeded',
        `The maximum number of security groups per interface has been reached: ${groupsMax}.`,
      );
  }
  return groups;
};
