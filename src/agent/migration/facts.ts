/** What QEMU says of a migration, and what follows from it. Pure. */
import { z } from 'zod';

export const mirrorJob = 'migrate-root';
export const remoteNode = 'migrate-remote';

/** Memory that may be left when the copy counts as converged: some ten milliseconds of a switch. */
const convergedBytesMax = 16 * 1024 * 1024;
/** A pass over memory, and at least one more over what changed meanwhile. */
const passesMin = 2;

export const migrateInfo = z.looseObject({
  status: z.string().optional(),
  'error-desc': z.string().optional(),
  'expected-downtime': z.number().optional(),
  downtime: z.number().optional(),
  ram: z
    .looseObject({
      total: z.number(),
      remaining: z.number(),
      transferred: z.number(),
      'dirty-sync-count': z.number(),
      'dirty-pages-rate': z.number(),
    })
    .optional(),
});
export type MigrateInfo = z.infer<typeof migrateInfo>;

export const jobInfo = z.array(
  z.looseObject({
    id: z.string(),
    status: z.string(),
    'current-progress': z.number(),
    'total-progress': z.number(),
    error: z.string().optional(),
  }),
);
export type Job = z.infer<typeof jobInfo>[number];

export const runInfo = z.looseObject({ status: z.string(), running: z.boolean() });

export const isOver = ({ status }: Job): boolean => ['aborting', 'concluded', 'null'].includes(status);

/** Whether so little is left that a switch would be short. */
export const isConverged = ({ status, ram }: MigrateInfo): boolean =>
  status === 'pre-switchover' ||
  (status === 'active' &&
    ram !== undefined &&
    ram['dirty-sync-count'] >= passesMin &&
    ram.remaining <= convergedBytesMax);
