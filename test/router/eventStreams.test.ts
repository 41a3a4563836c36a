/** A stream of events lasts as long as a new request of its key would be taken. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import aws4 from 'aws4';
import { startCloud } from './cloud.ts';
import { keys } from './fakeRegion.ts';

const keyTtlMs = 100;

test('a stream ends with its key, and not with a region that is away', async () => {
  const cloud = await startCloud({ zones: [], limits: { keyTtlMs, unknownKeyTtlMs: 1 } });
  try {
    const open = async (key: (typeof keys)['first' | 'second']): Promise<IncomingMessage> => {
      const { port } = cloud.router;
      const path = '/capacity/v1/events';
      const asked = {
        host: `127.0.0.1:${port}`,
        service: 'ec2',
        region: 'lab-1',
        path,
        method: 'GET',
        body: '',
      };
      const signed = aws4.sign({ ...asked, headers: { accept: 'text/event-stream' } }, key);
      const request = httpRequest({ host: '127.0.0.1', port, path, headers: { ...signed.headers } });
      request.end();
      const [response]: IncomingMessage[] = await once(request, 'response');
      assert.equal(response?.statusCode, 200);
      return response?.resume() ?? assert.fail();
    };
    const [revoked, kept] = [await open(keys.first), await open(keys.second)];
    const ended = once(revoked, 'end');
    cloud.region.revoked.add(keys.first.accessKeyId);
    await ended;
    await cloud.region.kill();
    await delay(5 * keyTtlMs);
    assert.equal(kept.readableEnded, false);
    kept.destroy();
  } finally {
    await cloud.close();
  }
});
