/** What a launch says of where its instances may be, checked as far as its placement group allows. */
import type { Result } from '#base/rpc/contract.ts';
import { PandoError } from '#contracts/errors.ts';
import type { regionContract } from '#contracts/region.ts';
import type { InstanceSpec } from '../store/instances.ts';
import type { RunRequest } from './run-input.ts';

/** A placement group as the region has resolved it. */
export type ResolvedGroup = NonNullable<
  Result<typeof regionContract, 'region.resolveLaunch'>['placementGroup']
>;

/** @throws InvalidParameterCombination, InvalidParameterValue */
export const checkPartition = (
  { partition }: { readonly partition?: number | undefined },
  { placementGroup }: { readonly placementGroup?: ResolvedGroup | undefined },
): void => {
  if (partition === undefined) return;
  if (placementGroup?.strategy !== 'partition')
    throw new PandoError(
      'InvalidParameterCombination',
      'A partition number can be given with a placement group of the strategy partition alone.',
    );
  const { partitionCount = 0 } = placementGroup;
  if (partition < 1 || partition > partitionCount)
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${partition}) for parameter partitionNumber is invalid. Expecting 1 to ${partitionCount}.`,
    );
};

/** What of an instance's specification constrains where it may be. */
export const constraintsOf = (
  { partition, tenancy, hostId, affinity }: Pick<RunRequest, 'partition' | 'tenancy' | 'hostId' | 'affinity'>,
  { placementGroup }: { readonly placementGroup?: ResolvedGroup | undefined },
): Pick<InstanceSpec, 'placementGroup' | 'tenancy' | 'dedicatedHost'> => ({
  ...(tenancy === 'default' ? {} : { tenancy }),
  ...(tenancy !== 'host' || hostId === undefined
    ? {}
    : { dedicatedHost: { hostId, ...(affinity === undefined ? {} : { affinity }) } }),
  ...(placementGroup === undefined
    ? {}
    : {
        placementGroup: {
          ...{ groupId: placementGroup.groupId, groupName: placementGroup.groupName },
          ...(partition === undefined ? {} : { partition }),
        },
      }),
});
