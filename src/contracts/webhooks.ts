/** Cell → webhook sender, over its Unix socket (`POST /deliver`): one message to one receiver, and what became of it. */
import { z } from 'zod';

export const webhookLimits = {
  urlCharsMax: 2_048,
  bodyCharsMax: 64 * 1024,
  timeoutMsMax: 30_000,
} as const;

export const webhookDelivery = z.object({
  url: z.string().max(webhookLimits.urlCharsMax),
  headers: z.record(z.string().max(64), z.string().max(1_024)),
  body: z.string().max(webhookLimits.bodyCharsMax),
  timeoutMs: z.number().int().min(1).max(webhookLimits.timeoutMsMax),
});
export type WebhookDelivery = z.infer<typeof webhookDelivery>;

export const webhookOutcome = z.discriminatedUnion('outcome', [
  /** An answer of 2xx. */
  z.object({ outcome: z.literal('delivered'), status: z.number().int() }),
  /** No answer, or another one: worth another try. */
  z.object({
    outcome: z.literal('failed'),
    reason: z.string(),
    /** The receiver asks not to be tried before. */
    retryAfterSeconds: z.number().int().nonnegative().optional(),
  }),
  /** It is not to be sent: an address that nobody outside may have us reach, or a receiver that has gone (410). */
  z.object({ outcome: z.literal('refused'), reason: z.string() }),
]);
export type WebhookOutcome = z.infer<typeof webhookOutcome>;
