/** The decision of S3.1: which cells may take a launch, in which order. Pure: any replica gives the same answer. */
import { createHash } from 'node:crypto';
import type { CellRecord } from '#contracts/region.ts';
import type { WireInput } from '#wire/types.ts';
import { isRecord } from './outcome.ts';
import { contentHash, textIn } from './request.ts';

/** What a launch asks for, as far as it decides the cell. */
export interface Demand {
  /** A type of the catalogue or a custom size (S3.6). */
  readonly size: string | undefined;
  readonly zone: string | undefined;
  /** The zone by its id, where its name is not given. */
  readonly zoneId: string | undefined;
  /** Without a zone, the subnet decides it. */
  readonly subnetId: string | undefined;
  readonly tenancy: string | undefined;
  /** A dedicated host or a reservation that the launch is to be on: its cell is the only one. */
  readonly hostId: string | undefined;
  readonly reservationId: string | undefined;
}

/** A launch as the decision sees it. */
export interface LaunchRequest {
  readonly accountId: string;
  /** The client token; without one, the hash of the request's content. */
  readonly key: string;
  readonly zone: string | undefined;
}

/** Reads the demand indicator from a RunInstances input. */
export const demandOf = (input: WireInput): Demand => {
  const [primary]: unknown[] = Array.isArray(input.NetworkInterfaces) ? input.NetworkInterfaces : [];
  return {
    size: textIn(input, 'InstanceType'),
    zone: textIn(input.Placement, 'AvailabilityZone'),
    zoneId: textIn(input.Placement, 'AvailabilityZoneId'),
    subnetId: textIn(input, 'SubnetId') ?? textIn(primary, 'SubnetId'),
    tenancy: textIn(input.Placement, 'Tenancy'),
    hostId: textIn(input.Placement, 'HostId'),
    reservationId: textIn(
      isRecord(input.CapacityReservationSpecification)
        ? input.CapacityReservationSpecification.CapacityReservationTarget
        : undefined,
      'CapacityReservationId',
    ),
  };
};

/** What the order of cells is hashed over, beside the account. */
export const launchKey = (input: WireInput): string => textIn(input, 'ClientToken') ?? contentHash(input);

/**
 * The active cells of the zone by rendezvous hash: the same order wherever it is worked out, and a cell that
 * comes or goes changes the place of no other. The order does not depend on which cells live, so that a
 * repeated client token meets the cell that may hold it.
 */
export const chooseCells = <C extends Pick<CellRecord, 'cellId' | 'zone' | 'state'>>(
  request: LaunchRequest,
  cells: readonly C[],
): readonly C[] =>
  cells
    .filter(({ state, zone }) => state === 'active' && (request.zone === undefined || zone === request.zone))
    .map((cell) => ({ cell, weight: weightOf(request, cell.cellId) }))
    .sort((a, b) => (a.weight < b.weight ? 1 : -1))
    .map(({ cell }) => cell);

const weightOf = ({ accountId, key }: LaunchRequest, cellId: string): string =>
  createHash('sha256')
    .update(JSON.stringify([accountId, key, cellId]))
    .digest('hex');
