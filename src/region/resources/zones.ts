/** The region itself: its zones, an account's attributes, and what it does not have. */
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { applyFilters } from '#wire/filters.ts';
import type { Handlers } from '#wire/types.ts';
import type { ZoneConfig } from '../config.ts';
import type { ActionContext } from '../context.ts';
import { describe } from '../describe.ts';
import { notFound } from '../not-found.ts';

const attributesOf = async (context: ActionContext): Promise<Readonly<Record<string, readonly string[]>>> => {
  const vpc = await context.region.db
    .selectFrom('vpc')
    .select('vpc_id')
    .where('account_id', '=', context.accountId)
    .where('is_default', '=', true)
    .executeTakeFirst();
  const { addressesPerAccountMax } = context.region.config.limits;
  return {
    'supported-platforms': ['VPC'],
    'default-vpc': [vpc?.vpc_id ?? 'none'],
    'max-instances': ['1000'],
    'vpc-max-security-groups-per-interface': ['5'],
    'max-elastic-ips': [String(addressesPerAccountMax)],
    'vpc-max-elastic-ips': [String(addressesPerAccountMax)],
  };
};

const selectZones = (
  zones: readonly ZoneConfig[],
  names: readonly string[] | undefined,
  ids: readonly string[] | undefined,
): readonly ZoneConfig[] => {
  const missing = [
    ...(names ?? []).filter((name) => !zones.some((zone) => zone.name === name)),
    ...(ids ?? []).filter((id) => !zones.some((zone) => zone.id === id)),
  ];
  if (missing.length > 0)
    throw new PandoError('InvalidParameterValue', `Invalid availability zone: [${missing[0]?.slice(0, 64)}]`);
  return zones.filter((zone) => (names?.includes(zone.name) ?? true) && (ids?.includes(zone.id) ?? true));
};

export const zoneHandlers: Handlers<ActionContext> = {
  async DescribeRegions(input, context) {
    const { regionName } = context.region.config;
    const missing = input.RegionNames?.find((name) => name !== regionName);
    if (missing !== undefined)
      throw new PandoError('InvalidParameterValue', `Invalid region name: [${missing.slice(0, 64)}]`);
    const region = {
      RegionName: regionName,
      Endpoint: `ec2.${context.region.network.domainName}`,
      OptInStatus: 'opt-in-not-required',
    };
    const items = applyFilters([region], input.Filters, {
      'region-name': (one) => one.RegionName,
      endpoint: (one) => one.Endpoint,
      'opt-in-status': (one) => one.OptInStatus,
    });
    endDryRun(input);
    return { Regions: items };
  },

  async DescribeAvailabilityZones(input, context) {
    const { regionName, zones } = context.region.config;
    const shown = selectZones(zones, input.ZoneNames, input.ZoneIds).map((zone) => ({
      RegionName: regionName,
      ZoneName: zone.name,
      ZoneId: zone.id,
      ZoneType: zone.type,
      State: 'available' as const,
      GroupName: regionName,
      GroupLongName: regionName,
      NetworkBorderGroup: regionName,
      OptInStatus: 'opt-in-not-required' as const,
      Messages: [],
    }));
    const items = applyFilters(shown, input.Filters, {
      'group-long-name': (zone) => zone.GroupLongName,
      'group-name': (zone) => zone.GroupName,
      message: () => undefined,
      'opt-in-status': (zone) => zone.OptInStatus,
      'parent-zone-id': () => undefined,
      'parent-zone-name': () => undefined,
      'region-name': (zone) => zone.RegionName,
      state: (zone) => zone.State,
      'zone-id': (zone) => zone.ZoneId,
      'zone-name': (zone) => zone.ZoneName,
      'zone-type': (zone) => zone.ZoneType,
    });
    endDryRun(input);
    return { AvailabilityZones: items };
  },

  async DescribeAccountAttributes(input, context) {
    const all = await attributesOf(context);
    const names: readonly string[] = input.AttributeNames?.length ? input.AttributeNames : Object.keys(all);
    const attributes = names.map((name) => {
      const values = Object.hasOwn(all, name) ? all[name] : undefined;
      if (values === undefined)
        throw new PandoError('InvalidParameterValue', `The attribute '${name.slice(0, 64)}' is invalid.`);
      return { AttributeName: name, AttributeValues: values.map((value) => ({ AttributeValue: value })) };
    });
    endDryRun(input);
    return { AccountAttributes: attributes };
  },

  /** Cells know associations. A router of the last release asks here, where there were none: until it is replaced it is told so. */
  async DescribeIamInstanceProfileAssociations(input, context) {
    if (input.AssociationIds?.length) throw notFound('addressAssociation', input.AssociationIds);
    const none: readonly never[] = [];
    const page = describe(none, input, context, {
      action: 'DescribeIamInstanceProfileAssociations',
      idOf: () => '',
      filters: { 'instance-id': () => undefined, state: () => undefined },
    });
    return { IamInstanceProfileAssociations: page.items };
  },
};
