/** A run's databases on somebody else's server: they go with the run, and not under another run that uses them. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { onServer } from '#base/postgres/create.ts';
import { databaseUrlOf, dropDatabases, ensureDatabases, newExternal } from '#lab/externalPostgres.ts';
import type { RunRecord } from '#lab/runRecord.ts';
import { startPostgres } from '#node/embedded-postgres.ts';
import { newCluster } from '../support/cluster.ts';

const serverFor = async (t: TestContext): Promise<string> => {
  const dir = await mkdtemp(join(tmpdir(), 'pando-ext-'));
  const [dataDir, socketDir] = [join(dir, 'd'), join(dir, 's')];
  await newCluster(dataDir);
  const options = { dataDir, socketDir, dieWithParent: true, settings: { fsync: 'off' } };
  const { url, stop } = await startPostgres(options);
  t.after(async () => {
    await stop();
    await rm(dir, { recursive: true, force: true });
  });
  return url;
};

const namesAt = (url: string): Promise<string[]> =>
  onServer(url, async (server) => {
    const { rows } = await server.query<{ datname: string }>(
      `select datname from pg_database where datname like 'pando%' order by datname`,
      [],
    );
    return rows.map(({ datname }) => datname);
  });

test('databases that another run still uses stay when a copy of its directory is taken down', async (t) => {
  const url = await serverFor(t);
  const postgres = newExternal(url);
  const run: RunRecord = {
    format: 1,
    ...{ index: 1, cells: 1, hostsPerCell: 1, port: 1, regionName: 'pando-1' },
    postgres,
  };
  await ensureDatabases(run);
  const made = await namesAt(url);
  assert.equal(made.length, 2);
  const told: string[] = [];
  await onServer(databaseUrlOf(postgres, 'region'), async (living) => {
    await dropDatabases(run, (line) => told.push(line));
    assert.deepEqual(await namesAt(url), made);
    await living.query('select 1', []);
  });
  assert.match(told.join(), /somebody else is connected/);
  await dropDatabases(run, (line) => told.push(line));
  assert.deepEqual([await namesAt(url), told.length], [[], 1]);
});
