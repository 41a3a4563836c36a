/**
 * Requests for capacity, as clients send and read them (`/capacity/v1/`), and as routers pass them to cells. The OpenAPI document is made
 * of these shapes.
 */
import { z } from 'zod';

export const capacityLimits = {
  alternativesMax: 10,
  /** Other zones in which one request waits besides. */
  otherZonesMax: 4,
  countMax: 100,
  validSecondsMin: 10,
  validSecondsMax: 30 * 24 * 3_600,
  validSecondsDefault: 24 * 3_600,
  reserveSecondsMin: 10,
  reserveSecondsMax: 3_600,
  reserveSecondsDefault: 300,
  tokenCharsMax: 128,
  urlCharsMax: 2_048,
  /** Of one account in one cell. */
  openRequestsMax: 100,
  pageMax: 1_000,
  pageDefault: 100,
  eventsWaitSecondsMax: 20,
} as const;

const limits = capacityLimits;
const instanceType = z.string().min(1).max(64);
const count = z.number().int().min(1).max(limits.countMax);
const zoneName = z.string().min(1).max(64);

export const alternativeInput = z.strictObject({
  instanceType: instanceType.optional(),
  count: count.optional(),
  availabilityZone: zoneName.optional(),
});

export const createRequestInput = z.strictObject({
  /** The same token and the same request give the same answer again. */
  clientToken: z.string().min(1).max(limits.tokenCharsMax).optional(),
  instanceType,
  count: count.default(1),
  diskGib: z.number().int().min(1).max(16_384).default(8),
  /** Absent: that of the cell which takes the request. */
  availabilityZone: zoneName.optional(),
  /** `hold`: what is offered is reserved until it expires. `race`: it is told, and whoever launches first has it. */
  mode: z.enum(['hold', 'race']).default('hold'),
  /** For how long an offer stands. */
  offerSeconds: z
    .number()
    .int()
    .min(limits.reserveSecondsMin)
    .max(limits.reserveSecondsMax)
    .default(limits.reserveSecondsDefault),
  /** For how long the request waits. */
  validSeconds: z
    .number()
    .int()
    .min(limits.validSecondsMin)
    .max(limits.validSecondsMax)
    .default(limits.validSecondsDefault),
  /** What would do instead, the best first. */
  alternatives: z.array(alternativeInput).max(limits.alternativesMax).default([]),
  /** Whether alternatives are also worked out from what the account runs. */
  suggestAlternatives: z.boolean().default(false),
  /** Where events are sent, signed after Standard Webhooks. */
  callback: z.strictObject({ url: z.url({ protocol: /^https?$/ }).max(limits.urlCharsMax) }).optional(),
});
export type CreateRequestInput = z.output<typeof createRequestInput>;

/** One of several requests that wait for one wish in cells of several zones. */
export const createLinkedInput = z.object({
  request: createRequestInput,
  link: z.discriminatedUnion('as', [
    /** The first, with what is asked for in other zones. */
    z.object({
      as: z.literal('main'),
      elsewhere: z.array(alternativeInput).max(limits.alternativesMax),
    }),
    /** What it asks for is an alternative to another one. */
    z.object({ as: z.literal('companion'), of: z.string().max(64), reason: z.string().max(256) }),
  ]),
});
export type Link = z.infer<typeof createLinkedInput>['link'];

/** A launch that found no capacity, whose client had asked to wait. */
export const createFromLaunchInput = z.object({
  /** RunInstances as it was sent. */
  run: z.unknown(),
  validSeconds: z.number().int().min(limits.validSecondsMin).max(limits.validSecondsMax),
});

const requestId = z.string().max(64);
export const requestState = z.enum(['waiting', 'offered', 'fulfilled', 'expired', 'cancelled', 'lapsed']);
export const offerState = z.enum(['accumulating', 'open', 'claimed', 'lapsed', 'lost', 'given-back']);

const optionView = z.object({
  instanceType: z.string(),
  count: z.number().int(),
  availabilityZone: z.string(),
  /** Why it is an alternative. */
  reason: z.string().optional(),
});

export const offerView = z.object({
  offerId: z.string(),
  state: offerState,
  mode: z.enum(['hold', 'race']),
  ...optionView.shape,
  /** Whether it is what was asked for, or an alternative. */
  original: z.boolean(),
  /** How many are reserved so far, of one that accumulates. */
  reserved: z.number().int().optional(),
  validUntil: z.iso.datetime().optional(),
  /** The header that claims it, with a RunInstances of this type. */
  claim: z.object({ header: z.literal('x-pando-hold'), value: z.string() }).optional(),
  reservationId: z.string().optional(),
});
export type OfferView = z.infer<typeof offerView>;

/** `requestId`: of an alternative in another zone, the request that waits for it there. */
const alternativeView = optionView.extend({ requestId: z.string().optional() });
const companionView = optionView.extend({ requestId: z.string().max(64) });
export type CompanionView = z.infer<typeof companionView>;

export const requestView = z.object({
  requestId: z.string(),
  /** It waits for an alternative, in another zone, of this request: when that one ends, or this one is fulfilled, both end. */
  companionOf: z.string().optional(),
  state: requestState,
  mode: z.enum(['hold', 'race']),
  ...optionView.shape,
  diskGib: z.number(),
  offerSeconds: z.number().int(),
  createdAt: z.iso.datetime(),
  validUntil: z.iso.datetime(),
  /** How many requests for the same are before it; while it waits. */
  ahead: z.number().int().optional(),
  alternatives: z.array(alternativeView),
  offers: z.array(offerView),
  callback: z.object({ url: z.string() }).optional(),
  /** What its webhooks are signed with; where it has a callback. */
  signingSecret: z.string().optional(),
});
export type RequestView = z.infer<typeof requestView>;

export const eventKind = z.enum([
  'capacity.offered',
  'capacity.lapsed',
  'capacity.lost',
  'capacity.claimed',
  /** What the same client is offered in another zone goes before it. */
  'capacity.withdrawn',
  'request.expired',
  'request.cancelled',
  'request.lapsed',
]);
export type EventKind = z.infer<typeof eventKind>;

export const eventView = z.object({
  /** The same in every delivery: who has seen it knows it. */
  eventId: z.string(),
  kind: eventKind,
  at: z.iso.datetime(),
  requestId: z.string(),
  /** The request of which that one is an alternative in another zone. */
  companionOf: z.string().optional(),
  state: requestState,
  offer: offerView.optional(),
  /** For people: what happened and what to do. */
  message: z.string(),
});
export type EventView = z.infer<typeof eventView>;

const paged = {
  maxResults: z.number().int().min(1).max(limits.pageMax).default(limits.pageDefault),
  /** Of the page before. */
  after: z.string().max(256).optional(),
};

/** What a router asks of a cell: operation → input and output. */
export const capacityOperations = {
  createRequest: { input: createRequestInput, output: requestView },
  createFromLaunch: { input: createFromLaunchInput, output: requestView },
  createLinked: { input: createLinkedInput, output: requestView },
  /** Which requests wait for the first one's alternatives in other zones. */
  setCompanions: {
    input: z.object({ requestId, companions: z.array(companionView).max(limits.otherZonesMax) }),
    output: requestView,
  },
  showRequest: { input: z.object({ requestId }), output: requestView },
  cancelRequest: { input: z.object({ requestId }), output: requestView },
  listRequests: {
    input: z.object({ ...paged, states: z.array(requestState).max(6).optional() }),
    output: z.object({ requests: z.array(requestView), next: z.string().optional() }),
  },
  /** Events after a number, oldest first; waits for one where there is none. */
  events: {
    input: z.object({
      after: z.number().int().nonnegative(),
      maxResults: paged.maxResults,
      waitSeconds: z.number().min(0).max(limits.eventsWaitSecondsMax).default(0),
      requestId: requestId.optional(),
    }),
    output: z.object({ events: z.array(eventView), last: z.number().int() }),
  },
} as const;
export type CapacityOperation = keyof typeof capacityOperations;
export type OperationInput<O extends CapacityOperation> = z.output<(typeof capacityOperations)[O]['input']>;
export type OperationOutput<O extends CapacityOperation> = z.output<(typeof capacityOperations)[O]['output']>;

export const isCapacityOperation = (name: string): name is CapacityOperation =>
  Object.hasOwn(capacityOperations, name);

/** Router → cell. */
export const capacityContract = {
  'capacity.call': {
    params: z.object({
      requestId: z.string(),
      accountId: z.string(),
      principal: z.string(),
      action: z.string(),
      input: z.unknown(),
    }),
    result: z.object({ output: z.unknown() }),
  },
} as const;
