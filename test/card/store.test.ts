/** What a card remembers is understood by the release before it, and the other way round. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { createLogger } from '#base/log.ts';
import { VpcStore } from '#card/store.ts';
import { portOf } from './lab.ts';

it('a prepared redirection is `aim` on disk, as in the last release', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'card-store-'));
  try {
    const store = new VpcStore(directory, createLogger('test'));
    assert.deepEqual(await store.load(), []);
    const file = join(directory, 'vpcs', 'vpc-1.json');
    const aim = { ip: '198.18.1.12', port: 5001 };
    const port = { tap: 'tapa', wired: true, port: portOf(10, '198.18.1.11'), active: true };
    const written = { vpcId: 'vpc-1', ports: [{ ...port, aim }, port], forwards: [], metadata: [] };
    await writeFile(file, JSON.stringify(written));
    const [record] = await store.load();
    assert.ok(record);
    assert.deepEqual(
      record.ports.map(({ preparedRedirect }) => preparedRedirect),
      [aim, undefined],
    );
    await store.save(record);
    assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), written);
  } finally {
    await rm(directory, { recursive: true });
  }
});
