/** Location reports and who is near. */
import { z } from 'zod';
import * as limits from './limits.ts';
import { EstablishmentRef, PersonRef, Position, TimeMs } from './primitives.ts';
import { signed } from './signing.ts';

/**
 * Where a device's fix comes from. The trust order is carrier, gnss, wifi, fused, cell: a browser cannot tell what its platform
 * used, so it says `fused`.
 */
export const DeviceSource = z.enum(['gnss', 'wifi', 'fused', 'cell']);
export type DeviceSource = z.infer<typeof DeviceSource>;

export const Fix = z.strictObject({
  source: DeviceSource,
  position: Position,
  /** Radius in metres that holds the true position with 95 % (`GeolocationCoordinates.accuracy`). */
  accuracyM: z.number().positive().max(limits.accuracyMMax),
  /** When it was measured, by the device's clock. */
  at: TimeMs,
});
export type Fix = z.infer<typeof Fix>;

export const LocationReport = signed('location.report', {
  fixes: z.array(Fix).min(1).max(limits.fixesPerReportMax),
});
export type LocationReport = z.infer<typeof LocationReport>;

export const LocationReceipt = z.strictObject({
  /** The fix that counts from now on: the most trusted of those that are recent. */
  used: DeviceSource,
  /** `suspect`: kept out of decisions until reports agree again. */
  standing: z.enum(['trusted', 'suspect']),
});
export type LocationReceipt = z.infer<typeof LocationReceipt>;

export const NearbyContact = z.strictObject({
  ...PersonRef.shape,
  /** How sure it is that they are within the threshold: no distance and no direction is told. */
  likelihood: z.enum(['here', 'probably_here']),
});
export type NearbyContact = z.infer<typeof NearbyContact>;

export const Nearby = z.strictObject({
  contacts: z.array(NearbyContact),
  /** Public places, by their registered position. */
  establishments: z.array(z.strictObject({ ...EstablishmentRef.shape, distanceM: z.number().min(0) })),
});
export type Nearby = z.infer<typeof Nearby>;
