import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Authority, createAuthority } from '#base/pki.ts';
import { FakeRegion } from './fakeRegion.ts';
import { startRouterProcess } from './routerProcess.ts';

describe('the router process', () => {
  let authority: Authority;
  let region: FakeRegion;
  before(async () => {
    authority = await createAuthority('Test authority');
    region = new FakeRegion(authority);
    await region.start();
  });
  after(() => region.kill());

  it('starts from its file, serves, and stops when it is asked to', async () => {
    const router = await startRouterProcess(authority, region.port);
    try {
      const reply = await fetch(`http://127.0.0.1:${router.port}/?Action=DescribeRegions`);
      assert.equal(reply.status, 403);
      assert.match(await reply.text(), /<Code>MissingAuthenticationToken<\/Code>/);
    } finally {
      assert.equal(await router.stop(), 0);
    }
  });

  it('starts without a region, and says that it is not ready', async () => {
    const router = await startRouterProcess(authority, 1);
    try {
      const reply = await fetch(`http://127.0.0.1:${router.port}/_pando/health`);
      assert.equal(reply.status, 503);
      assert.deepEqual(await reply.json(), { pid: router.pid, ready: false, region: false, cells: [] });
    } finally {
      assert.equal(await router.stop(), 0);
    }
  });

  it('refuses a file that is wrong, and names the field', async () => {
    const wrong = startRouterProcess(authority, region.port, { regionName: 'Not A Region' });
    await assert.rejects(wrong, /regionName/);
  });
});
