/** Every code that the network answers with: of errors, and the reasons of decisions. */

/** Error code → HTTP status. The sentence that goes with it says what to do. */
export const errorStatus = {
  invalid_request: 400,
  idempotency_key_missing: 400,
  not_signed_in: 401,
  signature_invalid: 401,
  passkey_refused: 401,
  device_not_yours: 403,
  operator_only: 403,
  origin_refused: 403,
  /** The one answer for whoever is unknown, a stranger, opted out or gone: nothing can be told apart by it. */
  payee_not_available: 404,
  not_found: 404,
  idempotency_key_reused: 422,
  idempotency_in_progress: 409,
  message_replayed: 409,
  message_from_future: 422,
  message_too_old: 422,
  report_backdated: 422,
  report_implausible_speed: 422,
  location_not_opted_in: 409,
  handle_taken: 409,
  state_conflict: 409,
  currency_mismatch: 422,
  amount_out_of_range: 422,
  balance_exceeded: 422,
  insufficient_funds: 422,
  split_exceeds_payment: 422,
  not_offered: 422,
  expired: 410,
  limit_reached: 409,
  body_too_large: 413,
  rate_limited: 429,
  busy: 503,
  internal: 500,
} as const;
export type ErrorCode = keyof typeof errorStatus;
export const errorCodes = Object.keys(errorStatus) as [ErrorCode, ...ErrorCode[]];

/** Why a decision came out as it did. A decision has one or more, the deciding one first. */
export const reasonCodes = [
  // distance
  'near',
  'far',
  'too_uncertain',
  // evidence that is not there or cannot be used
  'payer_position_missing',
  'payee_position_missing',
  'payer_position_stale',
  'payee_position_stale',
  'payer_position_inaccurate',
  'payee_position_inaccurate',
  'payer_position_suspect',
  'payee_position_suspect',
  'payer_carrier_mismatch',
  'payee_carrier_mismatch',
  'carrier_required',
  // rules of the account
  'location_not_used',
  'below_allowance',
  'above_allowance',
  'policy_allow',
  'policy_decline',
  'policy_step_up',
  'partner_not_named',
  'partner_too_new',
  'outside_allowed_area',
  'area_uncertain',
  'over_payment_limit',
  'over_day_limit',
  'co_located_at_bill',
  // afterwards
  'confirmed_on_other_device',
  'confirmation_refused',
  'confirmation_expired',
  'insufficient_funds',
] as const;
export type ReasonCode = (typeof reasonCodes)[number];
