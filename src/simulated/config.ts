/** The configuration file of a simulated region's process, and what it tells whoever started it. */
import { z } from 'zod';
import { cellsMax } from '#lab/plan.ts';

export const simulatedConfig = z.object({
  /** Directory of the run: certificates, images, logs. */
  root: z.string(),
  /** Where PostgreSQL and the hosts' VMs are kept. */
  state: z.string(),
  /** Whether the state is to survive a crash of the machine; else nothing is ever flushed to a disk. */
  persist: z.boolean(),
  /** Keeps prepared stores and compiled code between runs. */
  cache: z.string(),
  /** Port of the API on 127.0.0.1. */
  port: z.number().int().min(1).max(65_535),
  regionName: z.string().regex(/^[a-z0-9-]{1,64}$/),
  /** Requests may be signed for any region, and are answered in its terms. */
  anyRegion: z.boolean(),
  /** VMs change their states at once. */
  instant: z.boolean(),
  /** Zones, one cell each. */
  cells: z.number().int().min(1).max(cellsMax),
  hostsPerCell: z.number().int().min(1),
  /** The access key that the run has already; absent or unknown to the store: an account is made. */
  accessKeyId: z.string().optional(),
  /** Whether it ends with the process that started it. */
  foreground: z.boolean(),
});
export type SimulatedConfig = z.infer<typeof simulatedConfig>;
