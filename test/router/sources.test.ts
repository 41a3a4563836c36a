/** What one source may do before it has proved who it is. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Sources, sourceOf } from '#router/http/sources.ts';
import { type Cloud, codeOf, startCloud } from './cloud.ts';
import { keys } from './fakeRegion.ts';

describe('sources', () => {
  it('are addresses, and for IPv6 the /64', () => {
    assert.equal(sourceOf('::ffff:192.0.2.1'), '192.0.2.1');
    assert.equal(sourceOf('192.0.2.1'), '192.0.2.1');
    assert.equal(sourceOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64');
    assert.equal(sourceOf('2001:db8::1'), '2001:db8:0:0::/64');
    assert.equal(sourceOf('2001:db8::5:1'), sourceOf('2001:DB8::6:2'));
    assert.equal(sourceOf('::1'), '0:0:0:0::/64');
    assert.equal(sourceOf('fe80::1%eth0'), 'fe80:0:0:0::/64');
    assert.equal(sourceOf(undefined), '');
  });

  it('have a burst of failures, and earn new ones with time', () => {
    let now = 0;
    const limits = { connectionsPerSourceMax: 1, unauthenticatedBurst: 3, unauthenticatedPerSecond: 2 };
    const sources = new Sources(limits, () => now);
    for (let n = 0; n < 3; n += 1) {
      sources.check('192.0.2.1');
      sources.failed('192.0.2.1');
    }
    assert.throws(() => sources.check('192.0.2.1'), { code: 'RequestLimitExceeded' });
    sources.check('192.0.2.2');
    now = 499;
    assert.throws(() => sources.check('192.0.2.1'), { code: 'RequestLimitExceeded' });
    now = 500;
    sources.check('192.0.2.1');
    now = 3_600_000;
    for (let n = 0; n < 3; n += 1) sources.failed('192.0.2.1');
    assert.throws(() => sources.check('192.0.2.1'), { code: 'RequestLimitExceeded' });
  });
});

const flood = 30;

describe('a flood from one source', () => {
  let cloud: Cloud;
  before(async () => {
    const limits = { unauthenticatedBurst: 5, unauthenticatedPerSecond: 1, connectionsPerSourceMax: 20 };
    cloud = await startCloud({ zones: ['lab-1a'], limits });
  });
  after(() => cloud.close());

  it('of invented keys asks the region no more than its burst, and known keys go on', async () => {
    assert.equal((await cloud.act('DescribeRegions')).status, 200);
    const before = cloud.region.lookups.size;
    const codes: (string | undefined)[] = [];
    const begunMs = performance.now();
    for (let n = 0; n < flood; n += 1) {
      const key = { ...keys.first, accessKeyId: `PANDOINVENTED${String(n).padStart(7, '0')}` };
      codes.push(codeOf(await cloud.act('DescribeRegions', {}, { key })));
    }
    assert.equal(codes[0], 'AuthFailure');
    // Each second that this takes earns it one more.
    const lookupsMax = 15 + Math.ceil((performance.now() - begunMs) / 1_000);
    const lookups = cloud.region.lookups.size - before;
    assert.ok(lookups < lookupsMax, `${lookups} lookups`);
    const refused = codes.filter((code) => code === 'RequestLimitExceeded').length;
    assert.ok(refused > flood - lookupsMax, `${refused} were refused`);
    assert.equal((await cloud.act('DescribeRegions')).status, 200);
  });

  it('of connections leaves it no more than its share, until it closes some', async () => {
    const open: Socket[] = [];
    let refused = 0;
    for (let n = 0; n < 30; n += 1) {
      const socket = connect(cloud.router.port, '127.0.0.1');
      open.push(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        refused += 1;
      });
    }
    await until(() => refused >= 10);
    for (const socket of open) socket.destroy();
    await until(async () => (await cloud.act('DescribeRegions').catch(() => undefined))?.status === 200);
  });
});

describe('a region that is slow to say whose keys they are', () => {
  it('leaves places to keys that are known, however many invented ones wait', async () => {
    const limits = { inFlightMax: 8, unknownInFlightMax: 5 };
    const cloud = await startCloud({ zones: ['lab-1a'], limits });
    try {
      assert.equal((await cloud.act('DescribeRegions')).status, 200);
      const answers = Promise.withResolvers<void>();
      cloud.region.keysAnswered = answers.promise;
      let answered = 0;
      const waiting = Array.from({ length: 12 }, (_, n) => {
        const key = { ...keys.first, accessKeyId: `PANDOINVENTED${String(n).padStart(7, '0')}` };
        return cloud.act('DescribeRegions', {}, { key }).then((reply) => {
          answered += 1;
          return codeOf(reply);
        });
      });
      await until(() => answered === 7 && cloud.region.lookups.size >= 6);
      assert.equal(cloud.region.lookups.size, 6);
      assert.equal((await cloud.act('DescribeRegions')).status, 200);
      answers.resolve();
      const codes = await Promise.all(waiting);
      assert.equal(codes.filter((code) => code === 'AuthFailure').length, 5);
      assert.equal(codes.filter((code) => code === 'RequestLimitExceeded').length, 7);
    } finally {
      await cloud.close();
    }
  });
});

const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
  const end = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error('never');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};
