/** Values that are as long as a form may be, and shaped to be read slowly: refused in the time of a short one, and no neighbour waits. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { codeOf, type Signed, sign } from './cloud.ts';
import { type RealClient, type RealCloud, regionName, startRealCloud } from './realCloud.ts';

const formCharsMax = 1024 * 1024 - 4_096;
/** What made expressions for base64, spaces and ids look again from each of its characters. */
const shapes: Readonly<Record<string, (length: number) => string>> = {
  'base64 that ends wrong': (length) => `${'A'.repeat(length)}!`,
  'spaces that end wrong': (length) => `A${' '.repeat(length)}!`,
  'padding without end': (length) => '='.repeat(length),
};
const samples = 200;

const p99 = (times: number[]): number => times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0;

describe('the worst inputs', { timeout: 120_000 }, () => {
  let cloud: RealCloud;
  let neighbour: RealClient;
  let mallory: RealClient;
  before(async () => {
    cloud = await startRealCloud();
    neighbour = await cloud.account();
    mallory = await cloud.account();
  });
  after(() => cloud.close());

  const signedLaunch = (userData: string): Signed => {
    const form = new URLSearchParams({
      ...{
        Action: 'RunInstances',
        Version: '2016-11-15',
        ImageId: cloud.imageId,
        MinCount: '1',
        MaxCount: '1',
      },
      ...{ InstanceType: 'p1.nano', UserData: userData },
    });
    return sign(cloud.port, form.toString(), { key: mallory.key, region: regionName });
  };
  const startAttack = async (requests: readonly Signed[]) => {
    const worker = new Worker(attacker, { eval: true, workerData: { port: cloud.port, requests } });
    await once(worker, 'message');
    return async (): Promise<number> => {
      const ended = once(worker, 'message');
      worker.postMessage('end');
      const [refusals] = await ended;
      await worker.terminate();
      return Number(refusals);
    };
  };
  const describes = async (): Promise<number> => {
    const times: number[] = [];
    for (let at = 0; at < samples; at++) {
      const begun = performance.now();
      assert.equal((await neighbour.act('DescribeInstances')).status, 200);
      times.push(performance.now() - begun);
    }
    return p99(times);
  };
  const launch = (userData: string) =>
    mallory.act('RunInstances', {
      ImageId: cloud.imageId,
      MinCount: '1',
      MaxCount: '1',
      InstanceType: 'p1.nano',
      UserData: userData,
    });

  for (const [name, shape] of Object.entries(shapes))
    it(`${name}: user data of 150,000 characters and of a whole form is refused`, async () => {
      for (const length of [150_000, formCharsMax / (name.startsWith('spaces') ? 1 : 3)]) {
        const reply = await launch(shape(Math.floor(length)));
        assert.equal(reply.status < 500, true, reply.body);
        assert.notEqual(codeOf(reply), undefined);
      }
    });

  it('a neighbour’s DescribeInstances goes on while they come at full size, one after the other', async (t) => {
    const alone = await describes();
    const endAttack = await startAttack(
      Object.values(shapes).map((shape) => signedLaunch(shape(formCharsMax / 3))),
    );
    const beside = await describes();
    const refusals = await endAttack();
    t.diagnostic(
      `p99 of DescribeInstances: ${alone.toFixed(1)} ms alone, ${beside.toFixed(1)} ms beside ${refusals} of the worst inputs`,
    );
    assert.ok(refusals > 0, 'there was an attack');
    // Router, region and cell share one process here, so a neighbour waits at each hop: seconds would be an expression that backtracks.
    assert.ok(beside < alone * 20 + 200, `${alone} ms → ${beside} ms`);
  });
});

/** What a client in a process of its own does: it has signed once, and sends again and again. */
const attacker = `
const { request, Agent } = require('node:http');
const { parentPort, workerData: { port, requests } } = require('node:worker_threads');
const agent = new Agent({ keepAlive: false });
let over = false, refusals = 0;
parentPort.once('message', () => { over = true; });
const send = ({ method, path, headers, body }) => new Promise((resolve, reject) => {
  const sent = request({ port, host: '127.0.0.1', method, path, headers, agent }, (answer) => {
    answer.resume().once('end', () => resolve(answer.statusCode));
  });
  sent.once('error', reject).end(body);
});
(async () => {
  for (let at = 0; !over; at++) {
    const status = await send(requests[at % requests.length]);
    if (status < 400 || status >= 500) throw new Error('status ' + status);
    if (++refusals === 1) parentPort.postMessage('begun');
  }
  agent.destroy();
  parentPort.postMessage(refusals);
})();
`;
