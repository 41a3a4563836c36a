/** The webhook sender's configuration file. */
import { z } from 'zod';
import { endpoint } from '#base/config.ts';
import { metricsEndpoint } from '#base/metricsListener.ts';

export const webhooksConfig = z.object({
  /** Where the cells of this machine ask it to send. */
  socket: z.string(),
  /** What they show to be them. */
  key: z.string().min(32),
  /** Ranges that may be reached beside public addresses; such as a test receiver's. */
  allowed: z.array(z.string()).default([]),
  /** What it must not reach: while it can, it sends nothing. Absent: nothing of the kind is looked at. */
  fencedFrom: endpoint.optional(),
  metrics: metricsEndpoint.optional(),
});
export type WebhooksConfig = z.infer<typeof webhooksConfig>;
