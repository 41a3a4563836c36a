/** Requests and offers as their owners see them. */
import type { OfferView, RequestView } from '#contracts/capacity.ts';
import type { OfferRow, OptionColumn, RequestRow } from '../store/capacity-requests.ts';

const mibPerGib = 1024;
const shownMode = (mode: 'reserve' | 'race'): 'hold' | 'race' => (mode === 'race' ? 'race' : 'hold');

const showOption = (zone: string, { type, count, reason }: OptionColumn) => ({
  ...{ instanceType: type, count, availabilityZone: zone },
  ...(reason === undefined ? {} : { reason }),
});

export const showOffer = (request: RequestRow, offer: OfferRow, whole?: number): OfferView => {
  const option = request.options[offer.option];
  return {
    ...{ offerId: offer.id, state: offer.state, mode: shownMode(offer.mode) },
    original: offer.option === 0 && request.companion_of === null,
    ...showOption(request.zone, {
      ...{ type: offer.type, count: offer.count, amount: option?.amount ?? noAmount },
      ...(option?.reason === undefined ? {} : { reason: option.reason }),
    }),
    ...(offer.valid_until === null ? {} : { validUntil: offer.valid_until.toISOString() }),
    ...(offer.state === 'open' ? { claim: { header: 'x-pando-hold' as const, value: offer.id } } : {}),
    ...(offer.reservation_id === null ? {} : { reservationId: offer.reservation_id }),
    ...(offer.state === 'accumulating' && whole !== undefined ? { reserved: whole } : {}),
  };
};

const noAmount = { vcpusMilli: 0, memoryMib: 0, diskMib: 0, networkMbps: 0 };

export interface Shown {
  readonly request: RequestRow;
  readonly offers: readonly OfferRow[];
  readonly ahead?: number | undefined;
  /** Whole parts of the one that accumulates. */
  readonly reserved?: number | undefined;
  readonly signingSecret?: string | undefined;
}

export const showRequest = ({ request, offers, ahead, reserved, signingSecret }: Shown): RequestView => {
  const [original, ...alternatives] = request.options;
  if (original === undefined) throw new Error(`request ${request.id} asks for nothing`);
  return {
    ...{ requestId: request.id, state: request.state, mode: shownMode(request.mode) },
    ...(request.companion_of === null ? {} : { companionOf: request.companion_of }),
    ...showOption(request.zone, original),
    diskGib: original.amount.diskMib / mibPerGib,
    offerSeconds: request.offer_ms / 1000,
    createdAt: request.created_at.toISOString(),
    validUntil: request.valid_until.toISOString(),
    ...(ahead === undefined ? {} : { ahead }),
    alternatives: [
      ...alternatives.map((option) => showOption(request.zone, option)),
      ...(request.companions ?? []),
    ],
    offers: offers.map((offer) => showOffer(request, offer, reserved)),
    ...(request.callback_url === null ? {} : { callback: { url: request.callback_url } }),
    ...(signingSecret === undefined ? {} : { signingSecret }),
  };
};
