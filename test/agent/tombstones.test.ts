/** What a host remembers of instances that it does not have: over restarts, torn lines, age and number. */
import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { tombstonesMax } from '#agent/limits.ts';
import { Tombstones } from '#agent/tombstones.ts';
import { newerFence, passFence, tombstoneKeptMs } from '#contracts/fences.ts';

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'pa-'));
});
after(() => rm(dir, { recursive: true, force: true }));

const fence = (generation: number) => ({ generation, workflowId: `w${generation}`, epoch: 1 });

test('what was kept is there again, the last of each; a torn line loses nothing but itself', async () => {
  const one = await Tombstones.open(dir);
  await Promise.all([one.keep('i-1', fence(1)), one.keep('i-2', fence(1)), one.keep('i-1', fence(4))]);
  one.note('i-3', fence(9));
  await appendFile(join(dir, 'tombstones.jsonl'), '{"instanceId":"i-4","at":1');
  await one.keep('i-5', fence(5));
  const again = await Tombstones.open(dir);
  assert.deepEqual(again.of('i-1'), fence(4));
  assert.deepEqual([again.of('i-2'), again.of('i-5')], [fence(1), fence(5)]);
  assert.deepEqual([again.of('i-3'), again.of('i-4')], [undefined, undefined], 'noted alone; torn');
});

test('they go with their age, and what they were written in does not grow without end', async () => {
  let now = 1_000_000_000_000;
  const path = join(dir, 'tombstones.jsonl');
  await rm(path);
  const one = await Tombstones.open(dir, () => now);
  await one.keep('i-old', fence(1));
  now += tombstoneKeptMs / 2;
  for (let n = 0; n < 40; n++)
    await Promise.all(Array.from({ length: 100 }, (_, at) => one.keep(`i-${at}`, fence(n))));
  const lines = (await readFile(path, 'utf8')).split('\n').filter((each) => each !== '').length;
  assert.ok(lines < 2_000, `${lines} lines of 4001 that were written`);
  assert.deepEqual((await Tombstones.open(dir, () => now)).of('i-old'), fence(1));
  now += tombstoneKeptMs / 2 + 1;
  const later = await Tombstones.open(dir, () => now);
  assert.equal(later.of('i-old'), undefined);
  assert.deepEqual(later.of('i-7'), fence(39));
});

test('above their number none is forgotten before its time: new instances wait', async () => {
  let now = 1_000_000_000_000;
  const one = await Tombstones.open(await mkdtemp(join(dir, 'full-')), () => now);
  for (let n = 0; n < tombstonesMax; n++) one.note(`i-${n}`, fence(1));
  assert.throws(() => one.assertRoom('i-new'), { code: 'RequestLimitExceeded' });
  one.assertRoom('i-3');
  assert.deepEqual(one.of('i-0'), fence(1));
  now += tombstoneKeptMs + 1;
  one.assertRoom('i-new');
  assert.equal(one.size, 0);
});

test('the rule: what passes moves the fence up, what is refused leaves it, a visit takes nothing', () => {
  const key = (generation: number | undefined, workflowId: string, epoch: number) => ({
    ...{ workflowId, step: 's', epoch },
    ...(generation === undefined ? {} : { generation }),
  });
  const known = { generation: 3, workflowId: 'a', epoch: 2 };
  assert.equal(passFence(known, key(undefined, 'b', 1)), known);
  assert.equal(passFence(known, key(3, 'a', 2)), known, 'nothing new is the same');
  assert.deepEqual(passFence(known, key(3, 'a', 5)), { generation: 3, workflowId: 'a', epoch: 5 });
  assert.deepEqual(passFence(known, key(4, 'b', 1)), { generation: 4, workflowId: 'b', epoch: 1 });
  for (const late of [key(3, 'a', 1), key(3, 'b', 9), key(2, 'a', 9), key(0, 'b', 9)])
    assert.throws(() => passFence(known, late), { code: 'StaleEpoch' });
  assert.equal(passFence(known, key(3, 'b', 1), true), known);
  assert.throws(() => passFence(known, key(2, 'b', 1), true), { code: 'StaleEpoch' });
  const visited = passFence(known, key(5, 'b', 1), true);
  assert.deepEqual(visited, { generation: 5 });
  assert.deepEqual(passFence(visited, key(5, 'c', 1)), { generation: 5, workflowId: 'c', epoch: 1 });
  assert.deepEqual(newerFence(known, { generation: 2, workflowId: 'z', epoch: 9 }), known);
  assert.deepEqual(newerFence(undefined, known), known);
});
