/** The types of the server's contract. Types alone: its validators would be half of what a phone may load. */
import type { AnswerOf } from '../../../src/contract/routes.ts';

export type { ErrorCode, ReasonCode } from '../../../src/contract/codes.ts';
export type { LiveEvent } from '../../../src/contract/events.ts';
export type {
  DemoMap,
  LedgerHealth,
  OperatorDecision,
  SimulationFigures,
} from '../../../src/contract/operator.ts';
export type { Ask, Payee, Payment } from '../../../src/contract/payments.ts';
export type { DemoPerson, Me, Rules } from '../../../src/contract/people.ts';
export type { Currency, Money, Party, PersonRef } from '../../../src/contract/primitives.ts';
export type { AnswerOf, BodyInput, ErrorBody, RouteName } from '../../../src/contract/routes.ts';
export type { Division, Split, SplitOffer } from '../../../src/contract/splits.ts';
export type Statement = AnswerOf<'statement'>;
export type Contact = AnswerOf<'contacts'>['contacts'][number];
export type NearbyContact = AnswerOf<'nearby'>['contacts'][number];
