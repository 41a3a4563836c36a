/** What QEMU says of a migration, and what follows from it. Pure. */
import { z } from 'zod';

export const mirrorJob = 'migrate-root';
export const remoteNode = 'migrate-remote';

/** What a short pass over memory sends at most: some ten milliseconds of a switch. */
export const convergedBytesMax = 16 * 1024 * 1024;
/** QEMU counts the first look at what is dirty too: at two, all memory was sent once. */
export const firstPassEnded = 2;

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

/** Whether no memory is on its way. */
export const isEnded = ({ status = 'none' }: Pick<MigrateInfo, 'status'>): boolean =>
  ['none', 'cancelled', 'failed', 'completed'].includes(status);

/** Changes whenever either copy gets on. */
export const progressMark = (job: Job, { status, ram }: MigrateInfo): string =>
  [
    ...[job.status, job['current-progress'], status],
    ...[ram?.transferred, ram?.remaining, ram?.['dirty-sync-count']],
  ].join(' ');

export const runInfo = z.looseObject({ status: z.string(), running: z.boolean() });

export const isOver = ({ status }: Job): boolean => ['aborting', 'concluded', 'null'].includes(status);
