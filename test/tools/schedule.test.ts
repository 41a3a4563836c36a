/** Which test files run at the same time: every one once, and none beside what it must not be beside. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fits, inOrder, type Job, runAll } from '../../tools/test-runner/schedule.ts';
import { type Share, shareOf } from '../../tools/test-runner/shares.ts';

const share = fc.record({
  cores: fc.constantFrom(0.2, 0.5, 1, 1.6, 4),
  seconds: fc.integer({ min: 1, max: 200 }),
  alone: fc.boolean(),
  real: fc.boolean(),
});

const load = (shares: readonly Share[]): number => shares.reduce((sum, { cores }) => sum + cores, 0);

test('property: every file runs once, in company that it may have', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(share, { maxLength: 30 }),
      fc.integer({ min: 1, max: 8 }),
      async (shares, cores) => {
        const jobs = shares.map((each, at): Job => ({ file: `f${at}`, share: each }));
        const running = new Set<Job>();
        const done: string[] = [];
        const work = async (job: Job): Promise<void> => {
          running.add(job);
          const now = [...running].map((each) => each.share);
          if (now.length > 1) {
            const others = now.filter(({ alone }) => !alone);
            if (others.length < now.length) {
              assert.equal(others.length, now.length - 1, 'two that must be alone');
              assert.ok(
                load(others) < 0.41 && !others.some(({ real }) => real),
                'beside one that must be alone',
              );
            }
            assert.ok(now.filter(({ real }) => real).length <= 2, 'three on real parts');
            assert.ok(load(now) < cores + 0.81, `${load(now)} on ${cores}`);
          }
          for (let turn = 0; turn < job.share.seconds % 7; turn++) await Promise.resolve();
          running.delete(job);
          done.push(job.file);
        };
        await runAll(jobs, cores, work, () => false);
        assert.deepEqual(done.sort(), jobs.map(({ file }) => file).sort());
      },
    ),
  );
});

test('once it is interrupted nothing more begins, and what runs is waited for', async () => {
  const jobs = ['a', 'b', 'c', 'd'].map((file) => ({ file, share: shareOf(`base/${file}.test.ts`) }));
  const begun: string[] = [];
  const ended: string[] = [];
  await runAll(
    jobs,
    2,
    async ({ file }) => {
      begun.push(file);
      await Promise.resolve();
      ended.push(file);
    },
    () => begun.length >= 2,
  );
  assert.deepEqual(
    [begun, ended],
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
  );
});

test('what must be alone comes first, then the longest', () => {
  const job = (file: string, more: Partial<Share>): Job => ({
    file,
    share: { ...shareOf('base/any.test.ts'), ...more },
  });
  const jobs = [job('b', {}), job('a', {}), job('long', { seconds: 100 }), job('alone', { alone: true })];
  assert.deepEqual(
    inOrder(jobs).map(({ file }) => file),
    ['alone', 'long', 'a', 'b'],
  );
});

test('a soak, whatever it is on, has the machine for itself, what measures has beside it what sleeps; a file on real parts has it beside others', () => {
  const soak = shareOf('slots/sequences.soak.test.ts');
  const plain = shareOf('base/ids.test.ts');
  assert.equal(fits(soak, [plain], 8), false);
  assert.equal(fits(plain, [soak], 8), false);
  const sleeper = shareOf('cell/zombie.test.ts');
  assert.equal(fits(sleeper, [soak], 8), false);
  const measured = shareOf('e2e/migration.test.ts');
  assert.equal(fits(sleeper, [measured], 2), true);
  assert.equal(fits(measured, [sleeper], 2), true);
  assert.equal(fits(plain, [measured], 8), false);
  const real = shareOf('lab/topology.test.ts');
  assert.equal(fits(real, [plain], 2), true);
  assert.equal(fits(real, [shareOf('card/life.test.ts')], 8), true);
  assert.equal(fits(real, [shareOf('card/life.test.ts'), real], 8), false);
  const region = shareOf('e2e/network.test.ts');
  assert.equal(fits(region, [region], 2), true);
  assert.equal(fits(region, [region, region], 8), false, 'three regions');
});
