/** What a launch says of dedicated hosts and of reserved capacity, checked as far as the request alone allows. */
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import type { In } from '#wire/types.ts';
import type { Choice } from '../reservations/matching.ts';
import type { RunRequest } from './run-input.ts';

type Placement = In<'RunInstances'>['Placement'];

const tenancies = ['default', 'dedicated', 'host'] as const;

/** @throws InvalidParameterValue, InvalidParameterCombination */
export const readTenancy = (placement: Placement): Pick<RunRequest, 'tenancy' | 'hostId' | 'affinity'> => {
  const { Tenancy: given, HostId: hostId, Affinity: affinity } = placement ?? {};
  const tenancy = tenancies.find((one) => one === (given || (hostId ? 'host' : 'default')));
  if (tenancy === undefined)
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${String(given).slice(0, 64)}) for parameter Tenancy is invalid. Expecting ${tenancies.join(', ')}.`,
    );
  checkAffinity(affinity);
  if (tenancy !== 'host' && (hostId || affinity === 'host'))
    throw new PandoError(
      'InvalidParameterCombination',
      'HostId and Affinity may be given with the tenancy host alone.',
    );
  return {
    tenancy,
    ...(hostId ? { hostId: parseId('host', hostId) } : {}),
    ...(affinity === 'host' ? { affinity } : {}),
  };
};

/** @throws InvalidParameterValue */
export const checkAffinity = (affinity: string | undefined): void => {
  if (affinity !== undefined && affinity !== 'default' && affinity !== 'host')
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${affinity.slice(0, 64)}) for parameter Affinity is invalid. Expecting default or host.`,
    );
};

/** An offer is reserved for itself: it goes into no reservation and onto no dedicated host. @throws InvalidParameterCombination */
export const checkOffered = (
  { offerId }: { readonly offerId?: string | undefined },
  { tenancy }: Pick<RunRequest, 'tenancy'>,
  { preference, target }: Choice,
): void => {
  if (offerId === undefined) return;
  if (tenancy !== 'default' || target !== undefined || preference === 'capacity-reservations-only')
    throw new PandoError(
      'InvalidParameterCombination',
      `The offer '${offerId}' may not be claimed with another tenancy than default, or for a Capacity Reservation.`,
    );
};
