/**
 * The decision engine (S9.1, S9.2): from evidence and the account's rules to allow, decline or step up, with reasons. Pure: the same
 * inputs give the same decision, which is how a stored decision is replayed.
 *
 * The inputs hold distances and not places, so that a decision can be kept and replayed after the places are gone (S9.6).
 */
import { assertNever } from '../base/errors.ts';
import type { ReasonCode } from '../contract/codes.ts';
import type { SideEvidence } from '../contract/operator.ts';
import type { Answer, Rules } from '../contract/people.ts';
import { sigmaOf95, withinProbability } from '../location/probability.ts';
import { believedRadiusM } from '../location/sources.ts';
import type { Policy } from './policy.ts';

export const engineVersion = '1';

/** How far the paying device's fix is from an allowed area's centre. */
export interface AreaDistance {
  readonly distanceM: number;
  readonly radiusM: number;
}

export interface DecisionInputs {
  readonly amountMinor: string;
  readonly spentTodayMinor: string;
  readonly rules: Omit<Rules, 'partner'> & {
    readonly partnerRequired: boolean;
    readonly areasNamed: boolean;
  };
  readonly partner: 'named' | 'too_new' | 'not_named';
  /** Empty where there are no areas, or no fix of the payer. */
  readonly areas: readonly AreaDistance[];
  /** Between the two fixes; null where one is missing. */
  readonly distanceM: number | null;
  readonly payer: SideEvidence;
  readonly payee: SideEvidence;
  /** A part of a split bill: the person was found to be there when the bill was paid. */
  readonly coLocatedAtBill: boolean;
  readonly policy: Policy;
}

export type Proximity = 'near' | 'far' | 'unknown' | 'not_asked';

export interface Decision {
  readonly answer: 'allow' | 'decline' | 'step_up';
  readonly proximity: Proximity;
  readonly probability: number | null;
  /** The deciding reason first. */
  readonly reasons: readonly ReasonCode[];
}

interface Finding {
  readonly proximity: Exclude<Proximity, 'not_asked'>;
  readonly probability: number | null;
  readonly reasons: readonly ReasonCode[];
  /** Evidence of deceit: no rule may turn it into a silent yes. */
  readonly suspect: boolean;
}

export function decide(inputs: DecisionInputs): Decision {
  const limit = overLimit(inputs) ?? partnerRefusal(inputs);
  if (limit !== undefined)
    return { answer: 'decline', proximity: 'not_asked', probability: null, reasons: limit };
  if (inputs.coLocatedAtBill) return allowed('co_located_at_bill');
  if (inputs.rules.mode === 'off') return allowed('location_not_used');
  const finding = proximityOf(inputs);
  const { proximity, probability } = finding;
  if (proximity === 'near') return { answer: 'allow', proximity, probability, reasons: finding.reasons };
  const ruled = proximity === 'far' ? inputs.rules.onFar : inputs.rules.onUnknown;
  const { answer, reason } = answerOf(finding.suspect ? atMostStepUp(ruled) : ruled, inputs);
  return { answer, proximity, probability, reasons: [...finding.reasons, ...reason] };
}

const allowed = (reason: ReasonCode): Decision => ({
  answer: 'allow',
  proximity: 'not_asked',
  probability: null,
  reasons: [reason],
});

function overLimit({ amountMinor, spentTodayMinor, rules }: DecisionInputs): ReasonCode[] | undefined {
  const amount = BigInt(amountMinor);
  if (amount > BigInt(rules.perPaymentMaxMinor)) return ['over_payment_limit'];
  if (amount + BigInt(spentTodayMinor) > BigInt(rules.perDayMaxMinor)) return ['over_day_limit'];
  return undefined;
}

/** S9.2: the payee was named beforehand, and the paying device is in an allowed area. */
function partnerRefusal(inputs: DecisionInputs): ReasonCode[] | undefined {
  const { rules, partner, payer, policy } = inputs;
  if (!rules.partnerRequired) return undefined;
  if (partner !== 'named') return [partner === 'too_new' ? 'partner_too_new' : 'partner_not_named'];
  if (!rules.areasNamed) return undefined;
  const doubts = doubtsOf('payer', payer, policy);
  if (doubts.length > 0) return ['area_uncertain', ...doubts];
  const sigma = sigmaOfSide(payer, policy);
  // The best single area: a device at the border of two is sure of neither, and is declined.
  const best = Math.max(
    0,
    ...inputs.areas.map((area) => withinProbability(area.distanceM, area.radiusM, sigma)),
  );
  if (best >= policy.nearFrom) return undefined;
  return [best <= policy.farUpTo ? 'outside_allowed_area' : 'area_uncertain'];
}

/** Near, far, or unknown with each reason why. */
export function proximityOf(
  inputs: Pick<DecisionInputs, 'payer' | 'payee' | 'distanceM' | 'policy' | 'rules'>,
): Finding {
  const { payer, payee, policy, rules } = inputs;
  const reasons = [...doubtsOf('payer', payer, policy), ...doubtsOf('payee', payee, policy)];
  if (rules.carrierRequired && !carrierMatches(payer, policy)) reasons.push('carrier_required');
  const suspect = [payer, payee].some(
    (side) => side.standing === 'suspect' || carrierContradicts(side, policy),
  );
  if (reasons.length > 0 || inputs.distanceM === null)
    return { proximity: 'unknown', probability: null, reasons, suspect };
  const sigma = Math.hypot(sigmaOfSide(payer, policy), sigmaOfSide(payee, policy));
  const probability = withinProbability(inputs.distanceM, rules.thresholdM, sigma);
  if (probability >= policy.nearFrom) return { proximity: 'near', probability, reasons: ['near'], suspect };
  if (probability <= policy.farUpTo) return { proximity: 'far', probability, reasons: ['far'], suspect };
  return { proximity: 'unknown', probability, reasons: ['too_uncertain'], suspect };
}

/** Why a side's fix cannot be used; empty when it can. */
function doubtsOf(who: 'payer' | 'payee', side: SideEvidence, policy: Policy): ReasonCode[] {
  if (side.source === null || side.accuracyM === null || side.ageS === null)
    return [`${who}_position_missing`];
  const doubts: ReasonCode[] = [];
  if (side.standing === 'suspect') doubts.push(`${who}_position_suspect`);
  if (carrierContradicts(side, policy)) doubts.push(`${who}_carrier_mismatch`);
  if (side.ageS > policy.ageSMax) doubts.push(`${who}_position_stale`);
  if (believedRadiusM(side.source, side.accuracyM) > policy.accuracyMMax)
    doubts.push(`${who}_position_inaccurate`);
  return doubts;
}

const carrierMatches = ({ carrier, carrierMatchRate }: SideEvidence, policy: Policy): boolean =>
  carrier === 'TRUE' || (carrier === 'PARTIAL' && (carrierMatchRate ?? 0) >= policy.partialMatchMin);

/** The carrier says that the device is elsewhere. No answer of the carrier contradicts nothing. */
const carrierContradicts = (side: SideEvidence, policy: Policy): boolean =>
  side.carrier !== 'NONE' && !carrierMatches(side, policy);

/** σ on each axis: the fix's own, and what its age adds. A registered place does not move. */
function sigmaOfSide(side: SideEvidence, policy: Policy): number {
  if (side.source === null || side.accuracyM === null || side.ageS === null) return Number.POSITIVE_INFINITY;
  const own = sigmaOf95(believedRadiusM(side.source, side.accuracyM));
  return side.source === 'registered' ? own : Math.hypot(own, policy.driftMps * Math.max(0, side.ageS));
}

const atMostStepUp = (answer: Answer): Answer => (answer === 'decline' ? 'decline' : 'step_up');

function answerOf(
  answer: Answer,
  inputs: DecisionInputs,
): { answer: Decision['answer']; reason: ReasonCode[] } {
  switch (answer) {
    case 'allow':
      return { answer, reason: ['policy_allow'] };
    case 'decline':
      return { answer, reason: ['policy_decline'] };
    case 'step_up':
      return { answer, reason: ['policy_step_up'] };
    case 'allow_below':
      return BigInt(inputs.amountMinor) <= BigInt(inputs.rules.allowBelowMinor)
        ? { answer: 'allow', reason: ['below_allowance'] }
        : { answer: 'decline', reason: ['above_allowance'] };
    default:
      return assertNever(answer);
  }
}
