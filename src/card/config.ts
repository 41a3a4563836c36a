/** Configuration of a card process, and what of it every device of the data path has. */
import { z } from 'zod';
import { endpoint, tlsFiles } from '#base/config.ts';
import { metricsEndpoint } from '#base/metricsListener.ts';

/** A card or a gateway. */
export const deviceConfig = z.object({
  /** Name of this device; part of the names of its namespaces. */
  name: z.string().regex(/^[A-Za-z0-9._-]{1,40}$/),
  /** Directory of its own: what must survive the process lies here. */
  stateDir: z.string(),
  /** Namespaces of VPCs are named `<runPrefix><name>-<vpcId>`. */
  runPrefix: z.string().regex(/^[A-Za-z0-9._-]{0,40}$/),
  /** Name (under /run/netns) of the namespace in which this process runs. */
  netns: z.string(),
  /** Device towards the underlay, and the address on it that is this device's tunnel end. */
  underlayDevice: z.string(),
  vtep: z.ipv4(),
  tls: tlsFiles,
  /** Where its metrics are read; absent: nowhere. */
  metrics: metricsEndpoint.optional(),
  /** How often it looks whether the kernel still has what it put there; absent: as in limits.ts. */
  kernelLookEveryMs: z.number().int().min(1).optional(),
});

export const cardConfig = deviceConfig.extend({
  listen: endpoint,
  /** Identity of the agent that may command this card; a prefix if it ends in `/`. */
  agentIdentity: z.string().startsWith('spiffe://'),
  /** Where versions of the card's program are kept, by digest; absent: the machine's own is the only one. */
  programsDir: z.string().optional(),
  /** How long a namespace without ports stays open for the next one, in ms; absent: as in limits.ts. */
  emptyVpcKeptMs: z.number().int().min(0).optional(),
});
export type CardConfig = z.infer<typeof cardConfig>;
