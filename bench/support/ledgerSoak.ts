/** The soak of the payments' ledger as a command: progress to a file, an early end by SIGTERM or SIGINT, the counts as JSON. */
import { appendFileSync } from 'node:fs';
import { migrate } from '#payments/store/migrate.ts';
import { openPool } from '#payments/store/pool.ts';
import { schema } from '#payments/store/schema.ts';
import { type SoakCounts, soak } from '../../test/apps/payments/support/soak.ts';

const processes = 8;
const progressEvery = 1_000;

/**
 * What is soaked is who comes first and what is booked, and not the disk: the log is written at each COMMIT, but the disk is not waited
 * for. The test that kills the service and PostgreSQL waits for it.
 */
export const soakSettings = {
  fsync: 'off',
  full_page_writes: 'off',
  shared_buffers: '512MB',
  max_wal_size: '4GB',
  checkpoint_timeout: '15min',
} as const;

const text = (value: object, spaces?: number): string =>
  JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? `${each}` : each), spaces);

export async function ledgerSoak(url: string, operations: number, progressFile?: string): Promise<void> {
  const [first, ...others] = Array.from({ length: processes }, () => openPool({ url, poolMax: 8 }));
  if (first === undefined) throw new Error('there is no pool');
  await migrate(first, schema);
  const ended = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => ended.abort());
  const begun = performance.now();
  const tell = (line: object): void => {
    const told = text({ at: new Date().toISOString(), ...line });
    if (progressFile === undefined) console.error(told);
    else appendFileSync(progressFile, `${told}\n`);
  };
  const onProgress = (counts: SoakCounts): void => {
    if (counts.operations % progressEvery !== 0) return;
    const perSecond = Math.round((counts.operations * 1_000) / (performance.now() - begun));
    tell({ of: operations, perSecond, ...counts });
  };
  const result = await soak({
    processes: [first, ...others],
    operations,
    accounts: 200,
    concurrency: 6,
    retries: 8,
    wrongBodyShare: 0.01,
    seed: 20261126,
    signal: ended.signal,
    onProgress,
  });
  const told = { asked: operations, endedEarly: result.operations < operations, ...result };
  tell({ result: told });
  console.log(text(told, 2));
  await Promise.all([first, ...others].map((pool) => pool.end()));
}
