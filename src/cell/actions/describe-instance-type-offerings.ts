/** DescribeInstanceTypeOfferings: every type of the catalogue is offered wherever there are cells. */
import type { InstanceTypeOffering, LocationType } from '@aws-sdk/client-ec2';
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import { applyFilters, type FilterSpec } from '#wire/filters.ts';
import { cutPage, readPage } from '#wire/pagination.ts';
import type { In, Out } from '#wire/types.ts';
import { instanceTypeCatalogue } from '../instance-types.ts';
import type { CellContext } from './context.ts';

const filters: FilterSpec<InstanceTypeOffering> = {
  'instance-type': (offering) => offering.InstanceType,
  location: (offering) => offering.Location,
};

/** Zones are the region's to know. A region of the last release does not tell them: then the cell speaks for its own. */
const zonesOf = async ({
  services,
}: CellContext): Promise<readonly { name: string; id?: string | undefined }[]> => {
  const { identity, region } = services;
  try {
    return (await region.call('region.zones', {})).zones;
  } catch (error) {
    if (!isUnknownMethod(error)) throw error;
    return [{ name: identity.zone }];
  }
};

const locationsOf = async (type: LocationType, context: CellContext): Promise<readonly string[]> => {
  switch (type) {
    case 'region':
      return [context.services.identity.region];
    case 'availability-zone':
      return (await zonesOf(context)).map(({ name }) => name);
    case 'availability-zone-id':
      return (await zonesOf(context)).flatMap(({ id }) => id ?? []);
    case 'outpost':
      return [];
    default:
      throw new PandoError(
        'InvalidParameterValue',
        `Value (${String(type).slice(0, 64)}) for parameter locationType is invalid.`,
      );
  }
};

export const describeInstanceTypeOfferings = async (
  input: In<'DescribeInstanceTypeOfferings'>,
  context: CellContext,
): Promise<Out<'DescribeInstanceTypeOfferings'>> => {
  const page = readPage(input, { secret: context.pageSecret, scope: 'DescribeInstanceTypeOfferings' });
  const LocationType = input.LocationType ?? 'region';
  const locations = await locationsOf(LocationType, context);
  const all = locations.flatMap((Location) =>
    instanceTypeCatalogue.map(
      ({ name }): InstanceTypeOffering => ({
        InstanceType: name as InstanceTypeOffering['InstanceType'],
        LocationType,
        Location,
      }),
    ),
  );
  const matching = applyFilters(all, input.Filters, filters);
  endDryRun(input);
  const cursorOf = ({ InstanceType, Location }: InstanceTypeOffering): string =>
    `${InstanceType} ${Location}`;
  matching.sort((a, b) => (cursorOf(a) < cursorOf(b) ? -1 : 1));
  const cut = cutPage(matching, page, cursorOf);
  return { InstanceTypeOfferings: [...cut.items], NextToken: cut.nextToken };
};
