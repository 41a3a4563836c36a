/** The cluster of a simulated region that keeps its state. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { clusterOf } from '#lab/simulatedRun.ts';
import { startSimulatedStore } from '#simulated/store.ts';

test('a cluster that lacks a file is not replaced by a new one', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'pando-sim-'));
  try {
    const [state, cache] = [join(dir, 's'), join(dir, 'c')];
    const kept = join(clusterOf(state).dataDir, 'base');
    await mkdir(kept, { recursive: true });
    await writeFile(join(kept, '16384'), 'what was committed');
    const options = { state, cache, persist: true, cells: 1, say: () => undefined };
    await assert.rejects(startSimulatedStore(options), /exists but is not empty/);
    assert.ok(existsSync(join(kept, '16384')));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
