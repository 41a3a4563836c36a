/** Values that are as long as a form may be, and shaped to be read slowly: refused in the time of a short one, and no neighbour waits. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { codeOf } from './cloud.ts';
import { type RealClient, type RealCloud, startRealCloud } from './realCloud.ts';

const formCharsMax = 1024 * 1024 - 4_096;
/** What made expressions for base64, spaces and ids look again from each of its characters. */
const shapes: Readonly<Record<string, (length: number) => string>> = {
  'base64 that ends wrong': (length) => `${'A'.repeat(length)}!`,
  'spaces that end wrong': (length) => `A${' '.repeat(length)}!`,
  'padding without end': (length) => '='.repeat(length),
};
const samples = 60;

const p90 = (times: number[]): number => times.sort((a, b) => a - b)[Math.floor(times.length * 0.9)] ?? 0;

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

  const describes = async (): Promise<number> => {
    const times: number[] = [];
    for (let at = 0; at < samples; at++) {
      const begun = performance.now();
      assert.equal((await neighbour.act('DescribeInstances')).status, 200);
      times.push(performance.now() - begun);
    }
    return p90(times);
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

  it('a neighbour’s DescribeInstances goes on while they come', async () => {
    const alone = await describes();
    let over = false;
    const attack = (async () => {
      while (!over) await launch(`${'A'.repeat(300_000)}!`);
    })();
    const beside = await describes();
    over = true;
    await attack;
    console.log(
      `p90 of DescribeInstances: ${alone.toFixed(1)} ms alone, ${beside.toFixed(1)} ms beside the worst inputs`,
    );
    // Everything shares one process here, so a neighbour waits for whole requests: seconds would be an expression that backtracks.
    assert.ok(beside < alone * 20 + 200, `${alone} ms → ${beside} ms`);
  });
});
