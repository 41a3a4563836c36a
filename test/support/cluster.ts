/** A new database cluster: `initdb` runs once in a run of the tests, and its result is copied. */
import { existsSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { startPostgres } from '#node/embedded-postgres.ts';

/** Makes the cluster's directory, which must not be there; without a runner's directory it stays absent, for the server to make. */
export async function newCluster(dataDir: string): Promise<void> {
  const shared = process.env.PANDO_TEST_SHARED;
  if (shared === undefined) return;
  if (!existsSync(templateIn(shared))) await makeTemplate(shared);
  await exec('cp', ['-a', '--reflink=auto', templateIn(shared), dataDir]);
}

const templateIn = (shared: string): string => join(shared, 'cluster');

/** By rename: of several processes that make it at the same time, one has made it, whole. */
export async function makeTemplate(shared: string): Promise<void> {
  const made = await mkdtemp(join(shared, 'c-'));
  const dataDir = join(made, 'd');
  const options = { dataDir, socketDir: join(made, 's'), dieWithParent: true, settings: { fsync: 'off' } };
  await (await startPostgres(options)).stop();
  await rename(dataDir, templateIn(shared)).catch((error: NodeJS.ErrnoException) => {
    if (!['ENOTEMPTY', 'EEXIST'].includes(error.code ?? '')) throw error;
  });
  await rm(made, { recursive: true, force: true });
}
