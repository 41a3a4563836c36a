/**
 * CAMARA's Location Verification (v1 and later) as messages: is a device inside a circle, by the carrier's own knowledge? The carrier
 * never tells where the device is.
 */
import { z } from 'zod';
import { Position } from '../contract/primitives.ts';

export const verifyPath = '/location-verification/v3/verify';

export const VerifyRequest = z.object({
  device: z.object({ phoneNumber: z.string().regex(/^\+[1-9][0-9]{4,14}$/) }),
  area: z.object({ areaType: z.literal('CIRCLE'), center: Position, radius: z.int().min(1).max(200_000) }),
  /** Seconds: older knowledge of the carrier is not to be used. */
  maxAge: z.int().min(0).optional(),
});
export type VerifyRequest = z.infer<typeof VerifyRequest>;

export const VerifyAnswer = z.object({
  verificationResult: z.enum(['TRUE', 'FALSE', 'PARTIAL']),
  /** With PARTIAL: how much of where the device may be lies in the circle, percent. */
  matchRate: z.int().min(1).max(99).optional(),
  lastLocationTime: z.iso.datetime({ offset: true }),
});
export type VerifyAnswer = z.infer<typeof VerifyAnswer>;

/** CAMARA's codes of status 422: the carrier understood, and cannot say. */
export const unableCodes = [
  'LOCATION_VERIFICATION.AREA_NOT_COVERED',
  'LOCATION_VERIFICATION.INVALID_AREA',
  'LOCATION_VERIFICATION.UNABLE_TO_FULFILL_MAX_AGE',
  'LOCATION_VERIFICATION.UNABLE_TO_LOCATE',
  'SERVICE_NOT_APPLICABLE',
  'MISSING_IDENTIFIER',
  'UNSUPPORTED_IDENTIFIER',
  'UNNECESSARY_IDENTIFIER',
] as const;
export type UnableCode = (typeof unableCodes)[number];

export const CarrierError = z.object({ status: z.int(), code: z.string(), message: z.string() });

/** What the carrier said: an answer, or why there is none. `away`: no answer in time, or one that is not understood. */
export type CarrierResult =
  | {
      readonly kind: 'answer';
      readonly result: VerifyAnswer['verificationResult'];
      readonly matchRate: number | null;
      readonly lastLocationMs: number;
    }
  | { readonly kind: 'unable'; readonly code: string }
  | { readonly kind: 'away'; readonly why: string };

/** Asks a carrier. Never throws: a carrier that fails is `away`, and the decision goes on without its word. */
export interface LocationVerifier {
  verify(request: VerifyRequest): Promise<CarrierResult>;
}
