/** What is told live, over server-sent events: an event says that something changed, the client then reads it. */
import { z } from 'zod';
import { AskId, PaymentId, PersonId, SplitId } from './primitives.ts';

/**
 * `id:` of each event goes back as `Last-Event-ID` on reconnection; events of the last days are kept. `event:` is the type, `data:`
 * this object as JSON. A comment line comes every 15 s, so that a dead connection is noticed. Delivery is at least once.
 */
export const LiveEvent = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('payment'), paymentId: PaymentId, state: z.string() }),
  z.strictObject({ type: z.literal('ask'), askId: AskId, state: z.string() }),
  z.strictObject({ type: z.literal('split'), splitId: SplitId, state: z.string() }),
  z.strictObject({ type: z.literal('contact'), personId: PersonId, state: z.string() }),
  /** The balance changed. */
  z.strictObject({ type: z.literal('balance') }),
]);
export type LiveEvent = z.infer<typeof LiveEvent>;
export const liveEventTypes = ['payment', 'ask', 'split', 'contact', 'balance'] as const;
