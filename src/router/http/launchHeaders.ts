/**
 * What a launch says in headers of Pando's own. They are signed like every header: one that is not is refused with the signature.
 *
 *   x-pando-pending: SECONDS   without capacity, a request for it is to wait so long
 *   x-pando-hold: po-…         claims this offer of capacity
 */
import type { IncomingHttpHeaders } from 'node:http';
import { capacityLimits } from '#contracts/capacity.ts';
import { PandoError } from '#contracts/errors.ts';
import { isId } from '#contracts/ids.ts';

export interface LaunchHeaders {
  readonly pendingSeconds?: number;
  readonly offerId?: string;
}

const { validSecondsMin, validSecondsMax } = capacityLimits;

/** @throws InvalidParameterValue */
export const launchHeaders = (headers: IncomingHttpHeaders): LaunchHeaders => ({
  ...pendingIn(headers['x-pando-pending']),
  ...offerIn(headers['x-pando-hold']),
});

const pendingIn = (text: string | string[] | undefined): LaunchHeaders => {
  if (text === undefined) return {};
  const pendingSeconds = /^\d{1,8}$/.test(String(text)) ? Number(text) : Number.NaN;
  if (pendingSeconds >= validSecondsMin && pendingSeconds <= validSecondsMax) return { pendingSeconds };
  throw new PandoError(
    'InvalidParameterValue',
    `The header x-pando-pending is a number of seconds from ${validSecondsMin} to ${validSecondsMax}.`,
  );
};

const offerIn = (text: string | string[] | undefined): LaunchHeaders => {
  if (text === undefined) return {};
  const offerId = String(text);
  if (isId('capacityOffer', offerId)) return { offerId };
  throw new PandoError(
    'InvalidParameterValue',
    'The header x-pando-hold names an offer of capacity, of the form po-0123456789abcdef0.',
  );
};
