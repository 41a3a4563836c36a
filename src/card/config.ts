/** Configuration of a card process. */
import { z } from 'zod';
import { tlsFiles } from '#base/config.ts';

export const cardConfig = z.object({
  /** Name of this card, as in its certificate; part of the names of its namespaces. */
  name: z.string().regex(/^[A-Za-z0-9._-]{1,40}$/),
  /** Directory of its own: what must survive the process lies here. */
  stateDir: z.string(),
  /** Namespaces of VPCs are named `<runPrefix><name>-<vpcId>`. */
  runPrefix: z.string().regex(/^[A-Za-z0-9._-]{0,40}$/),
  /** Name (under /run/netns) of the namespace in which this process runs, told to agents. */
  netns: z.string(),
  /** Device towards the underlay, and the address on it that is this card's tunnel end. */
  underlayDevice: z.string(),
  vtep: z.ipv4(),
  listen: z.object({ host: z.string(), port: z.number().int() }),
  tls: tlsFiles,
  /** Identity of the agent that may command this card; a prefix if it ends in `/`. */
  agentIdentity: z.string().startsWith('spiffe://'),
});
export type CardConfig = z.infer<typeof cardConfig>;
