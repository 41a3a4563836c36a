/** What a statement leaves behind: a collection in the midst of a payment must find next to nothing to move. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { run } from '#payments/store/pool.ts';
import { testDatabase } from '../support/database.ts';

const keptBytes = join(import.meta.dirname, '../support/kept-bytes.ts');

test('finished statements are not moved to the old generation, as they are with the promises of the library', async () => {
  const { url } = await testDatabase();
  const { stdout } = await promisify(execFile)(process.execPath, [keptBytes, url]);
  const { ours, library } = JSON.parse(stdout) as { ours: number; library: number };
  assert.ok(ours < 150, `${ours} bytes of each statement are kept`);
  // Should the library mend it, `send` is needed no more.
  assert.ok(library > 300, `the library keeps ${library} bytes of each, we ${ours}`);
});

test('an error names who asked, and not the socket', async () => {
  const { pool } = await testDatabase();
  await assert.rejects(run(pool, 'select no_such_column'), (error: Error & { code?: string }) => {
    assert.equal(error.code, '42703');
    assert.match(error.stack ?? '', /at async run .*pool\.ts/);
    return true;
  });
});
