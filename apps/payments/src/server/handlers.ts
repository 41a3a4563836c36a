/** What each route of the contract does. A missing or superfluous handler does not compile. */
import type { App, Unit } from '../app.ts';
import { PaymentsError } from '../base/errors.ts';
import {
  type AnswerOf,
  type Body,
  type Params,
  type Query,
  type RouteName,
  routes,
} from '../contract/routes.ts';
import type { DemoWorld } from '../demo/demo.ts';
import { topUp } from '../demo/top-up.ts';
import { accountIn } from '../ledger/ledger.ts';
import { statementOf } from '../ledger/statement.ts';
import { nearby } from '../location/nearby.ts';
import { report } from '../location/reports.ts';
import { aboutOf } from '../operator/about.ts';
import { decisionsPage, ledgerHealth, replayDecision } from '../operator/operator.ts';
import { simulationFigures } from '../operator/simulation.ts';
import { activityOf, counterOf } from '../payments/activity.ts';
import { asksOf, closeAsk, lookAtAsk, makeAsk } from '../payments/asks.ts';
import { confirmPayment, refusePayment } from '../payments/confirm.ts';
import { beginPayment } from '../payments/pay.ts';
import { paymentRowFor, paymentView } from '../payments/payment-rows.ts';
import { acceptContact, addContact, contactsOf, removeContact } from '../people/contacts.ts';
import {
  addDevice,
  devicesOf,
  type KnownDevice,
  removeDevice,
  type Signer,
  takeOnce,
} from '../people/devices.ts';
import { addEstablishment, establishmentOf, ownEstablishment } from '../people/establishments.ts';
import { type RelyingParty, signIn, signInOptions, signUp, signUpOptions } from '../people/passkeys.ts';
import { eraseLocation, meOf, setPrivacy } from '../people/people.ts';
import { dropPartner, namePartner, partnersOf, rulesOf, setRules } from '../people/rules.ts';
import { sameSecret } from '../people/sessions.ts';
import { splitOffer } from '../splits/offer.ts';
import { approvePart, cancelSplit, declinePart, makeSplit, oneSplit, splitsOf } from '../splits/splits.ts';

/** Who was let in by a call: the server makes the cookie. */
export type SignedIn = { readonly personId: string } | { readonly operator: true } | { readonly out: true };

export interface Call<Name extends RouteName> {
  readonly app: App;
  readonly rp: RelyingParty;
  readonly operatorToken: string;
  readonly demo: DemoWorld | undefined;
  /** '' on routes without a session. */
  readonly personId: string;
  readonly params: Params<Name>;
  readonly query: Query<Name>;
  readonly body: Body<Name>;
  signedIn(who: SignedIn): void;
}

/** A route runs in a transaction; a signed one is given the device whose signature was verified before. */
type InUnit<Name extends RouteName> = (
  unit: Unit,
  call: Call<Name>,
  device: KnownDevice,
) => Promise<AnswerOf<Name>>;
/**
 * Or its first questions go out with the claim of its idempotency key, see `Work` in `ledger/idempotency.ts`, and with the look at who
 * asks, see `admission.ts`: what is known of the device is not newer than the last look.
 */
interface Begun<Name extends RouteName> {
  readonly begin: (unit: Unit, call: Call<Name>, device: Signer) => (unit: Unit) => Promise<AnswerOf<Name>>;
}
/** Or by itself, where it must commit something before it refuses, or asks others. */
interface Alone<Name extends RouteName> {
  readonly alone: (call: Call<Name>, device: KnownDevice) => Promise<AnswerOf<Name>>;
}
export type Handlers = { readonly [Name in RouteName]: InUnit<Name> | Begun<Name> | Alone<Name> };

const nothing = {};

export const handlers: Handlers = {
  about: { alone: async ({ app }) => aboutOf(app) },
  passkeySignUpOptions: (unit, { rp, body }) => signUpOptions(unit, rp, body).then(asOptions),
  passkeySignUp: async (unit, { rp, body, signedIn }) => {
    const personId = await signUp(unit, rp, body.challengeId, body.response);
    signedIn({ personId });
    return meOf(unit.on, personId);
  },
  passkeySignInOptions: (unit, { rp }) => signInOptions(unit, rp).then(asOptions),
  passkeySignIn: async (unit, { rp, body, signedIn }) => {
    const personId = await signIn(unit, rp, body.challengeId, body.response);
    signedIn({ personId });
    return meOf(unit.on, personId);
  },
  signOut: async (_unit, { signedIn }) => {
    signedIn({ out: true });
    return nothing;
  },

  demoPeople: (unit, { demo }) => inDemo(demo).people(unit),
  demoSignIn: async (unit, { demo, body, signedIn }) => {
    const personId = await inDemo(demo).personIdOf(unit, body.handle);
    signedIn({ personId });
    return meOf(unit.on, personId);
  },
  demoMap: (unit, { demo }) => inDemo(demo).map(unit),
  demoTopUp: async (unit, { demo, personId, body }) => {
    inDemo(demo);
    await topUp(unit, personId, body.money);
    return meOf(unit.on, personId);
  },

  me: (unit, { personId }) => meOf(unit.on, personId),
  setPrivacy: async (unit, { personId, body }) => {
    await setPrivacy(unit, personId, body);
    return meOf(unit.on, personId);
  },
  eraseLocation: async (unit, { personId }) => ({ erased: await eraseLocation(unit, personId) }),
  devices: async (unit, { personId }) => ({ devices: await devicesOf(unit.on, personId) }),
  addDevice: (unit, { personId, body }) => addDevice(unit, personId, body),
  removeDevice: async (unit, { personId, params }) => {
    await removeDevice(unit, personId, params.deviceId);
    return nothing;
  },
  rules: (unit, { personId }) => rulesOf(unit.on, personId),
  setRules: async (unit, { personId, body }) => {
    await takeOnce(unit, body);
    return setRules(unit, personId, body.payload.rules);
  },
  partners: async (unit, { personId }) => ({ partners: await partnersOf(unit, personId) }),
  namePartner: async (unit, { personId, body }) => {
    await takeOnce(unit, body);
    return namePartner(unit, personId, body.payload.personId);
  },
  dropPartner: async (unit, { personId, body }) => {
    await takeOnce(unit, body);
    await dropPartner(unit, personId, body.payload.personId);
    return nothing;
  },
  contacts: (unit, { personId }) => contactsOf(unit.on, personId).then(asContacts),
  addContact: async (unit, { personId, body }) => {
    await addContact(unit, personId, body.handle);
    return nothing;
  },
  acceptContact: (unit, { personId, params }) => acceptContact(unit, asPersonId(personId), params.personId),
  removeContact: async (unit, { personId, params }) => {
    await removeContact(unit, personId, params.personId);
    return nothing;
  },
  statement: async (unit, { personId, query }) => {
    const { currency } = await meOf(unit.on, personId);
    const account = await accountIn(unit.on, personId, currency);
    const statement = await statementOf(unit.on, account, query.from, query.to ?? unit.nowMs + 1);
    return {
      accountId: account.accountId,
      currency,
      openingMinor: `${statement.openingMinor}`,
      closingMinor: `${statement.closingMinor}`,
      entries: statement.entries.map(({ sub, atMs, amountMinor, balanceMinor, ...entry }) => ({
        ...entry,
        subAccount: sub,
        at: atMs,
        amountMinor: `${amountMinor}`,
        balanceMinor: `${balanceMinor}`,
      })),
    };
  },

  report: { alone: ({ app, body }, device) => report(app, device, body) },
  nearby: (unit, { personId }) => nearby(unit, personId),

  pay: { begin: (unit, { body }, device) => beginPayment(unit, device, body) },
  payment: async (unit, { personId, params }) =>
    paymentView(unit, personId, await paymentRowFor(unit, personId, params.paymentId)),
  confirmPayment: (unit, { params, body }, device) => {
    sameId(params.paymentId, body.payload.paymentId);
    return confirmPayment(unit, device, body, params.paymentId, body.payload.code);
  },
  refusePayment: (unit, { params, body }, device) => {
    sameId(params.paymentId, body.payload.paymentId);
    return refusePayment(unit, device, body, params.paymentId);
  },
  activity: (unit, { personId, query }) => activityOf(unit, personId, query.before, query.limit),

  ask: async (unit, { personId, body }) => {
    await takeOnce(unit, body);
    return makeAsk(unit, personId, body.payload);
  },
  asks: async (unit, { personId }) => ({ asks: await asksOf(unit, personId) }),
  lookAtAsk: (unit, { personId, params, query }) => lookAtAsk(unit, personId, params.askId, query.token),
  closeAsk: (unit, { personId, params }) => closeAsk(unit, personId, params.askId),
  establishment: (unit, { params }) => establishmentOf(unit.on, params.establishmentId),
  addEstablishment: (unit, { personId, body }) => addEstablishment(unit, personId, body),
  counter: (unit, { personId, params }) => counterOf(unit, personId, params.establishmentId),
  counterAsk: async (unit, { personId, params, body }) => {
    sameId(params.establishmentId, body.payload.establishmentId);
    await takeOnce(unit, body);
    await ownEstablishment(unit.on, personId, params.establishmentId);
    return makeAsk(unit, personId, body.payload);
  },

  splitOffer: (unit, { personId, params }) => splitOffer(unit, personId, params.paymentId),
  split: (unit, { body }, device) => makeSplit(unit, device, body),
  splits: async (unit, { personId }) => ({ splits: await splitsOf(unit, personId) }),
  oneSplit: (unit, { personId, params }) => oneSplit(unit, personId, params.splitId),
  approvePart: (unit, { params, body }, device) => {
    sameId(params.splitId, body.payload.splitId);
    return approvePart(unit, device, body, params.splitId);
  },
  declinePart: (unit, { params, body }, device) => {
    sameId(params.splitId, body.payload.splitId);
    return declinePart(unit, device, body, params.splitId);
  },
  cancelSplit: (unit, { params, body }, device) => {
    sameId(params.splitId, body.payload.splitId);
    return cancelSplit(unit, device, body, params.splitId);
  },

  operatorSignIn: async (_unit, { operatorToken, body, signedIn }) => {
    if (!sameSecret(operatorToken, body.token))
      throw new PaymentsError(
        'operator_only',
        'That is not the operator’s token. The start of the service prints it.',
      );
    signedIn({ operator: true });
    return nothing;
  },
  operatorDecisions: (unit, { query }) => decisionsPage(unit, query),
  operatorReplay: (unit, { params }) => replayDecision(unit, params.decisionId),
  operatorLedger: { alone: ({ app }) => ledgerHealth(app) },
  operatorSimulation: { alone: async () => simulationFigures() },
};

/** Routes whose body a device signs. */
export const isSigned = (name: RouteName): boolean => {
  const route = routes[name];
  if (!('body' in route)) return false;
  return 'shape' in route.body && 'signature' in route.body.shape;
};

function inDemo(demo: DemoWorld | undefined): DemoWorld {
  if (demo === undefined) throw new PaymentsError('not_found', 'This is only there in demo mode.');
  return demo;
}

/** The signed id is the one in the path: a signature for one thing is none for another. */
function sameId(path: string, signed: string): void {
  if (path !== signed)
    throw new PaymentsError('invalid_request', 'The path and the signed message name different things.');
}

const asPersonId = (personId: string): Params<'acceptContact'>['personId'] => {
  if (!personId.startsWith('per_')) throw new PaymentsError('not_signed_in', 'Sign in first.');
  return `per_${personId.slice(4)}`;
};
const asOptions = (made: { challengeId: string; options: object }): AnswerOf<'passkeySignUpOptions'> => ({
  challengeId: `chl_${made.challengeId.slice(4)}`,
  options: { ...made.options },
});
const asContacts = (list: Awaited<ReturnType<typeof contactsOf>>): AnswerOf<'contacts'> => ({
  contacts: list.contacts,
  pending: list.pending.map(({ handle, askedAt }) => ({ handle, askedAt })),
});
