/** The whole HTTP API as one table. The server's handlers and a client's calls take their types from it. */
import { z } from 'zod';
import { errorCodes } from './codes.ts';
import { pageItemsMax } from './limits.ts';
import * as location from './location.ts';
import * as operator from './operator.ts';
import * as payments from './payments.ts';
import * as people from './people.ts';
import {
  AskId,
  DecisionId,
  DeviceId,
  EstablishmentId,
  Handle,
  Money,
  PaymentId,
  PersonId,
  SplitId,
} from './primitives.ts';
import * as splits from './splits.ts';

/** Every error's body. `message` is a sentence for people, `code` is for programs, `requestId` finds the log lines. */
export const ErrorBody = z.strictObject({
  error: z.strictObject({
    code: z.enum(errorCodes),
    message: z.string(),
    requestId: z.string(),
    /** With `rate_limited` and `busy`. */
    retryAfterS: z.number().optional(),
  }),
});
export type ErrorBody = z.infer<typeof ErrorBody>;

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** `:name` are path parameters, validated by `params`. */
  readonly path: string;
  /** Who may call it. `demo`: as `none`, and the route is only there in demo mode. */
  readonly auth: 'none' | 'session' | 'operator' | 'demo';
  /** Whether an `Idempotency-Key` header is asked for, and answers are kept. */
  readonly idempotent?: true;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly answer: z.ZodType;
}

const nothing = z.strictObject({});
const one = <Name extends string, Id extends z.ZodType>(name: Name, id: Id) =>
  z.strictObject({ [name]: id } as { [Key in Name]: Id });
const limit = z.coerce.number().int().min(1).max(pageItemsMax).default(30);

export const routes = {
  about: { method: 'GET', path: '/v1/about', auth: 'none', answer: people.About },

  // sign-up and sign-in; the session is a cookie that scripts cannot read
  passkeySignUpOptions: {
    method: 'POST',
    path: '/v1/passkeys/sign-up/options',
    auth: 'none',
    body: people.SignUpOptionsBody,
    answer: people.PasskeyOptions,
  },
  passkeySignUp: {
    method: 'POST',
    path: '/v1/passkeys/sign-up',
    auth: 'none',
    body: people.PasskeyResponse,
    answer: people.Me,
  },
  passkeySignInOptions: {
    method: 'POST',
    path: '/v1/passkeys/sign-in/options',
    auth: 'none',
    body: nothing,
    answer: people.PasskeyOptions,
  },
  passkeySignIn: {
    method: 'POST',
    path: '/v1/passkeys/sign-in',
    auth: 'none',
    body: people.PasskeyResponse,
    answer: people.Me,
  },
  signOut: { method: 'POST', path: '/v1/sign-out', auth: 'session', body: nothing, answer: nothing },

  // demo mode alone
  demoPeople: {
    method: 'GET',
    path: '/v1/demo/people',
    auth: 'demo',
    answer: z.strictObject({ people: z.array(people.DemoPerson) }),
  },
  demoSignIn: {
    method: 'POST',
    path: '/v1/demo/sign-in',
    auth: 'demo',
    body: z.strictObject({ handle: Handle }),
    answer: people.Me,
  },
  demoMap: { method: 'GET', path: '/v1/demo/map', auth: 'demo', answer: operator.DemoMap },
  /** Play money for whoever signed up in demo mode. */
  demoTopUp: {
    method: 'POST',
    path: '/v1/demo/top-up',
    auth: 'session',
    idempotent: true,
    body: z.strictObject({ money: Money }),
    answer: people.Me,
  },

  // oneself
  me: { method: 'GET', path: '/v1/me', auth: 'session', answer: people.Me },
  setPrivacy: {
    method: 'PUT',
    path: '/v1/me/privacy',
    auth: 'session',
    body: people.Privacy,
    answer: people.Me,
  },
  /** Erases every position, cell and co-location of the person. */
  eraseLocation: {
    method: 'DELETE',
    path: '/v1/me/location',
    auth: 'session',
    answer: z.strictObject({ erased: z.int() }),
  },
  devices: {
    method: 'GET',
    path: '/v1/devices',
    auth: 'session',
    answer: z.strictObject({ devices: z.array(people.Device) }),
  },
  addDevice: {
    method: 'POST',
    path: '/v1/devices',
    auth: 'session',
    body: people.NewDevice,
    answer: people.Device,
  },
  removeDevice: {
    method: 'DELETE',
    path: '/v1/devices/:deviceId',
    auth: 'session',
    params: one('deviceId', DeviceId),
    answer: nothing,
  },
  rules: { method: 'GET', path: '/v1/rules', auth: 'session', answer: people.Rules },
  setRules: {
    method: 'PUT',
    path: '/v1/rules',
    auth: 'session',
    body: people.SetRules,
    answer: people.Rules,
  },
  partners: {
    method: 'GET',
    path: '/v1/partners',
    auth: 'session',
    answer: z.strictObject({ partners: z.array(people.Partner) }),
  },
  namePartner: {
    method: 'POST',
    path: '/v1/partners',
    auth: 'session',
    body: people.NamePartner,
    answer: people.Partner,
  },
  dropPartner: {
    method: 'POST',
    path: '/v1/partners/drop',
    auth: 'session',
    body: people.DropPartner,
    answer: nothing,
  },
  contacts: {
    method: 'GET',
    path: '/v1/contacts',
    auth: 'session',
    answer: z.strictObject({ contacts: z.array(people.Contact), pending: z.array(people.PendingContact) }),
  },
  /** Always the same answer, whether or not the handle exists. */
  addContact: {
    method: 'POST',
    path: '/v1/contacts',
    auth: 'session',
    body: z.strictObject({ handle: Handle }),
    answer: nothing,
  },
  acceptContact: {
    method: 'POST',
    path: '/v1/contacts/:personId/accept',
    auth: 'session',
    params: one('personId', PersonId),
    body: nothing,
    answer: people.Contact,
  },
  removeContact: {
    method: 'DELETE',
    path: '/v1/contacts/:personId',
    auth: 'session',
    params: one('personId', PersonId),
    answer: nothing,
  },
  statement: {
    method: 'GET',
    path: '/v1/statement',
    auth: 'session',
    query: z.strictObject({
      from: z.coerce.number().int().min(0).default(0),
      to: z.coerce.number().int().min(0).optional(),
    }),
    answer: people.Statement,
  },

  // location
  report: {
    method: 'POST',
    path: '/v1/locations',
    auth: 'session',
    body: location.LocationReport,
    answer: location.LocationReceipt,
  },
  nearby: { method: 'GET', path: '/v1/nearby', auth: 'session', answer: location.Nearby },

  // money
  pay: {
    method: 'POST',
    path: '/v1/payments',
    auth: 'session',
    idempotent: true,
    body: payments.PayMessage,
    answer: payments.Payment,
  },
  payment: {
    method: 'GET',
    path: '/v1/payments/:paymentId',
    auth: 'session',
    params: one('paymentId', PaymentId),
    answer: payments.Payment,
  },
  confirmPayment: {
    method: 'POST',
    path: '/v1/payments/:paymentId/confirm',
    auth: 'session',
    idempotent: true,
    params: one('paymentId', PaymentId),
    body: payments.ConfirmMessage,
    answer: payments.Payment,
  },
  refusePayment: {
    method: 'POST',
    path: '/v1/payments/:paymentId/refuse',
    auth: 'session',
    idempotent: true,
    params: one('paymentId', PaymentId),
    body: payments.RefuseMessage,
    answer: payments.Payment,
  },
  activity: {
    method: 'GET',
    path: '/v1/activity',
    auth: 'session',
    query: z.strictObject({ before: z.string().max(64).optional(), limit }),
    answer: payments.Activity,
  },

  ask: {
    method: 'POST',
    path: '/v1/asks',
    auth: 'session',
    idempotent: true,
    body: payments.AskMessage,
    answer: payments.Ask,
  },
  asks: {
    method: 'GET',
    path: '/v1/asks',
    auth: 'session',
    answer: z.strictObject({ asks: z.array(payments.Ask) }),
  },
  /** What a scanned QR code is about, before one pays it. */
  lookAtAsk: {
    method: 'GET',
    path: '/v1/asks/:askId',
    auth: 'session',
    params: one('askId', AskId),
    query: z.strictObject({ token: z.string().max(64).optional() }),
    answer: payments.Ask,
  },
  /** By whom it was made out to: declined. By whoever made it: cancelled. */
  closeAsk: {
    method: 'POST',
    path: '/v1/asks/:askId/close',
    auth: 'session',
    params: one('askId', AskId),
    body: nothing,
    answer: payments.Ask,
  },

  establishment: {
    method: 'GET',
    path: '/v1/establishments/:establishmentId',
    auth: 'session',
    params: one('establishmentId', EstablishmentId),
    answer: people.Establishment,
  },
  addEstablishment: {
    method: 'POST',
    path: '/v1/establishments',
    auth: 'session',
    body: people.NewEstablishment,
    answer: people.Establishment,
  },
  counter: {
    method: 'GET',
    path: '/v1/establishments/:establishmentId/counter',
    auth: 'session',
    params: one('establishmentId', EstablishmentId),
    answer: payments.Counter,
  },
  counterAsk: {
    method: 'POST',
    path: '/v1/establishments/:establishmentId/asks',
    auth: 'session',
    idempotent: true,
    params: one('establishmentId', EstablishmentId),
    body: payments.CounterAskMessage,
    answer: payments.Ask,
  },

  splitOffer: {
    method: 'GET',
    path: '/v1/payments/:paymentId/split-offer',
    auth: 'session',
    params: one('paymentId', PaymentId),
    answer: splits.SplitOffer,
  },
  split: {
    method: 'POST',
    path: '/v1/splits',
    auth: 'session',
    idempotent: true,
    body: splits.SplitMessage,
    answer: splits.Split,
  },
  splits: {
    method: 'GET',
    path: '/v1/splits',
    auth: 'session',
    answer: z.strictObject({ splits: z.array(splits.Split) }),
  },
  oneSplit: {
    method: 'GET',
    path: '/v1/splits/:splitId',
    auth: 'session',
    params: one('splitId', SplitId),
    answer: splits.Split,
  },
  approvePart: {
    method: 'POST',
    path: '/v1/splits/:splitId/approve',
    auth: 'session',
    idempotent: true,
    params: one('splitId', SplitId),
    body: splits.ApproveMessage,
    answer: splits.Split,
  },
  declinePart: {
    method: 'POST',
    path: '/v1/splits/:splitId/decline',
    auth: 'session',
    idempotent: true,
    params: one('splitId', SplitId),
    body: splits.DeclineMessage,
    answer: splits.Split,
  },
  cancelSplit: {
    method: 'POST',
    path: '/v1/splits/:splitId/cancel',
    auth: 'session',
    idempotent: true,
    params: one('splitId', SplitId),
    body: splits.CancelMessage,
    answer: splits.Split,
  },

  // operator: the token that the start prints becomes a cookie
  operatorSignIn: {
    method: 'POST',
    path: '/v1/operator/sign-in',
    auth: 'none',
    body: z.strictObject({ token: z.string().max(128) }),
    answer: nothing,
  },
  operatorDecisions: {
    method: 'GET',
    path: '/v1/operator/decisions',
    auth: 'operator',
    query: z.strictObject({
      before: z.string().max(64).optional(),
      limit,
      answer: z.enum(['allow', 'decline', 'step_up']).optional(),
    }),
    answer: z.strictObject({ decisions: z.array(operator.OperatorDecision), next: z.string().optional() }),
  },
  operatorReplay: {
    method: 'POST',
    path: '/v1/operator/decisions/:decisionId/replay',
    auth: 'operator',
    params: one('decisionId', DecisionId),
    body: nothing,
    answer: operator.Replay,
  },
  operatorLedger: {
    method: 'GET',
    path: '/v1/operator/ledger',
    auth: 'operator',
    answer: operator.LedgerHealth,
  },
  operatorSimulation: {
    method: 'GET',
    path: '/v1/operator/simulation',
    auth: 'operator',
    answer: operator.SimulationFigures,
  },
} as const satisfies Record<string, Route>;

/** Server-sent events of the signed-in person: `GET /v1/events`, see `events.ts`. */
export const eventsPath = '/v1/events';

export type RouteName = keyof typeof routes;
type Parsed<Name extends RouteName, Part extends string> =
  (typeof routes)[Name] extends Record<Part, infer Type extends z.ZodType> ? z.output<Type> : undefined;
type Given<Name extends RouteName, Part extends string> =
  (typeof routes)[Name] extends Record<Part, infer Type extends z.ZodType> ? z.input<Type> : undefined;
/** What a handler gets. */
export type Params<Name extends RouteName> = Parsed<Name, 'params'>;
export type Query<Name extends RouteName> = Parsed<Name, 'query'>;
export type Body<Name extends RouteName> = Parsed<Name, 'body'>;
export type AnswerOf<Name extends RouteName> = Parsed<Name, 'answer'>;
/** What a client gives. */
export type BodyInput<Name extends RouteName> = Given<Name, 'body'>;
