/** A simulated region as its run's record has it: one process on the machine, without root. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

export const simulatedRun = z.object({
  /** Where PostgreSQL and the hosts' VMs are kept. */
  state: z.string(),
  /** Whether the state stays when the region ends. */
  persist: z.boolean(),
  instant: z.boolean(),
  anyRegion: z.boolean(),
  /** Ports on 127.0.0.1 where the operator reaches the region and each cell; absent until it is up. */
  ports: z.object({ region: z.number().int(), cells: z.array(z.number().int()) }).optional(),
  imageId: z.string().optional(),
});
export type SimulatedRun = z.infer<typeof simulatedRun>;

/** The region's process: its files are named so. */
export const simulatedProcess = 'simulated';

/** Where the cluster lies in a run's state. */
export const clusterOf = (state: string) => ({ dataDir: join(state, 'pg'), socketDir: join(state, 's') });

/** Whether there is a state to go on from: one in memory is gone after a restart of the machine. */
export const hasState = (state: string): boolean => existsSync(join(state, 'pg', 'PG_VERSION'));
