/** The certificate authority's configuration file. */
import { z } from 'zod';
import { metricsEndpoint } from '#base/metricsListener.ts';
import { certificateLifetimeMsDefault } from '#base/pki.ts';

export const caConfig = z.object({
  /** Unix socket at which it answers. Any process that reaches it may ask: what counts is the identity that the caller proves. */
  socket: z.string(),
  /** PEM files of the authority. The key is this process's alone. */
  certificate: z.string(),
  key: z.string(),
  /** Who may have a certificate renewed: `spiffe://` identities. */
  identities: z.array(z.string()).max(10_000),
  /** Where its metrics are read; absent: nowhere. */
  metrics: metricsEndpoint.optional(),
  lifetimeMs: z.number().int().positive().default(certificateLifetimeMsDefault),
});
export type CaConfig = z.infer<typeof caConfig>;
