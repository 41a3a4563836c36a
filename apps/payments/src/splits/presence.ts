/**
 * Who of the payer's contacts was there when a payment was made. It is found out while exact positions are still kept, and only the
 * finding is kept: which contact, on what basis. Positions of anybody who is no contact are not read.
 */
import type { Unit } from '../app.ts';
import type { Establishment } from '../contract/people.ts';
import type { Side } from '../decision/evidence.ts';
import { contactIds, familiarity, togetherProbability } from '../location/co-location.ts';
import { sideOfPlace, sidesOfPeople } from '../location/fixes.ts';
import { familiarFrom } from '../location/nearby.ts';
import type { PaymentRow } from '../payments/payment-rows.ts';
import { establishmentOf } from '../people/establishments.ts';
import type { PersonRow } from '../people/people.ts';
import { run } from '../store/pool.ts';

export type Basis = 'same_establishment' | 'within_threshold' | 'often_together';

/** Somebody within this of the premises is at the establishment (tables on the pavement). */
const premisesMarginM = 25;
const oftenFrom = 0.5;

interface Finding {
  readonly personId: string;
  readonly basis: Basis;
  readonly score: number;
}

/** Writes down who is there now. `unit.nowMs` is the payment's moment. */
export async function rememberPresence(
  unit: Unit,
  payment: PaymentRow,
  payer: PersonRow,
  payerSide: Side,
): Promise<void> {
  await keep(unit, payment, await findPresent(unit, payment, payer, payerSide, undefined));
}

/** As {@link rememberPresence}, as all that the unit does. `known`: the establishment that was paid, where it is at hand. */
export async function rememberPresenceAlone(
  unit: Unit,
  payment: PaymentRow,
  payer: PersonRow,
  payerSide: Side,
  known: Establishment | undefined,
): Promise<void> {
  const findings = await findPresent(unit, payment, payer, payerSide, known);
  unit.behind(keep(unit, payment, findings));
}

async function keep(unit: Unit, payment: PaymentRow, findings: readonly Finding[]): Promise<void> {
  if (findings.length === 0) return;
  await run(
    unit.on,
    `insert into co_presence (payment_id, person_id, basis, score)
     select $1, person_id, basis, score from unnest($2::text[], $3::text[], $4::float8[]) as t(person_id, basis, score)
     on conflict (payment_id, person_id) do update set basis = excluded.basis, score = excluded.score
       where excluded.score > co_presence.score`,
    [
      payment.payment_id,
      findings.map((finding) => finding.personId),
      findings.map((finding) => finding.basis),
      findings.map((finding) => finding.score),
    ],
  );
}

async function findPresent(
  unit: Unit,
  payment: PaymentRow,
  payer: PersonRow,
  payerSide: Side,
  known: Establishment | undefined,
): Promise<Finding[]> {
  if (payerSide.fix === undefined) return [];
  const ids = (await contactIds(unit, payer.person_id, true)).filter((id) => id !== payment.payee_id);
  if (ids.length === 0) return [];
  const [sides, familiar, place] = await Promise.all([
    sidesOfPeople(unit, ids, 'closest'),
    familiarity(unit, payer.person_id, ids),
    placeOf(unit, payment, payerSide, known),
  ]);
  return [...sides].flatMap(([personId, side]): Finding[] => {
    const basis = basisOf(unit, payer, payerSide, place, side, familiar.get(personId) ?? 0);
    if (basis === undefined) return [];
    return [{ personId, basis, score: (familiar.get(personId) ?? 0) + rank[basis] }];
  });
}

const rank: Readonly<Record<Basis, number>> = {
  same_establishment: 2,
  within_threshold: 1,
  often_together: 0.5,
};

/** The establishment that was paid, if the payer is there too: else one could look into places from afar. */
async function placeOf(
  unit: Unit,
  payment: PaymentRow,
  payerSide: Side,
  known: Establishment | undefined,
): Promise<Side | undefined> {
  if (payment.establishment_id === null) return undefined;
  const place = sideOfPlace(known ?? (await establishmentOf(unit.on, payment.establishment_id)), unit.nowMs);
  return isAt(unit, place, payerSide) ? place : undefined;
}

const isAt = (unit: Unit, place: Side, side: Side): boolean =>
  togetherProbability(unit, place, side, premisesMarginM) >= unit.app.policy.nearFrom;

function basisOf(
  unit: Unit,
  payer: PersonRow,
  payerSide: Side,
  place: Side | undefined,
  side: Side,
  familiar: number,
): Basis | undefined {
  if (place !== undefined && isAt(unit, place, side)) return 'same_establishment';
  const probability = togetherProbability(unit, payerSide, side, payer.rules.thresholdM);
  if (probability >= unit.app.policy.nearFrom) return 'within_threshold';
  // History filters what the positions leave open, and never makes up for a position that speaks against it (S9.4).
  return probability >= oftenFrom && familiar >= familiarFrom ? 'often_together' : undefined;
}
