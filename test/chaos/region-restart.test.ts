/** The region's process is killed with fifty launches in flight and started again: none of them fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EC2Client, RunInstancesCommand } from '@aws-sdk/client-ec2';
import { until } from '../cell/support/harness.ts';
import { problemsOf } from './support/books.ts';
import { regionName, StormRegion } from './support/region.ts';
import { settles } from './support/storm.ts';
import { Ledger, smallest } from './support/users.ts';

const launchCount = 50;
/** A client of AWS's asks again by itself, with the token that it has drawn. */
const maxAttempts = 12;
/** So slow that the launches are still under way when the region is back. */
const latencyMs = 300;

for (const times of [1, 3])
  test(`the region dies ${times} times with fifty launches in flight`, { timeout: 4 * 60_000 }, async () => {
    const region = await StormRegion.start({ cells: 1, latencyMs });
    const ledger = new Ledger();
    try {
      const { accountId: _, ...credentials } = await region.account('fifty');
      const endpoint = `http://127.0.0.1:${region.port}`;
      const ec2 = new EC2Client({ endpoint, region: regionName, credentials, maxAttempts });
      const launch = async (at: number): Promise<void> => {
        const token = `launch-${at}`;
        const once = { ImageId: region.imageId, MinCount: 1, MaxCount: 1, ClientToken: token };
        const answer = await ec2.send(new RunInstancesCommand({ ...once, InstanceType: smallest }));
        const ids = new Set((answer.Instances ?? []).map(({ InstanceId: id = '' }) => id));
        ledger.promised.push({ token, ids, wish: 'running' });
      };
      const launches = Promise.all(Array.from({ length: launchCount }, (_each, at) => launch(at)));
      await until('the first is on a host', () => region.hosts.some((host) => host.vms.size > 0), 60_000);
      const running = region.hosts
        .flatMap((host) => [...host.vms.values()])
        .filter(({ state }) => state === 'running');
      assert.ok(running.length < launchCount, 'launches are in flight');
      const victim = region.victim('region');
      for (let time = 0; time < times; time++) await until('it dies', () => victim.kill());
      await launches;
      ec2.destroy();
      assert.equal(ledger.promised.length, launchCount);
      const { problems } = await settles(() => problemsOf(region, ledger));
      assert.deepEqual(problems, []);
    } finally {
      await region.stop();
    }
  });
