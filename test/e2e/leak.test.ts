/** Terminate leaves nothing (S1.12): everything countable is the same before and after many launches. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Network, typeSmallest } from './support/cloud.ts';
import { inventory } from './support/inventory.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { until } from './support/until.ts';

const launches = 20;
const atOnce = 4;
/** A VPC stays open for a minute after its last port: who has looked when it was closed waits for that. */
const settleMs = 90_000;

describe('launch and terminate', { timeout: 14 * 60_000 }, () => {
  let region: TestRegion;
  let network: Network;

  before(async () => {
    region = await startRegion();
    network = await region.cloud.network('10.80.0.0/16', [22, 80]);
  });

  after(() => region?.[Symbol.asyncDispose]());

  const cycle = async (count: number): Promise<void> => {
    const ids = await region.cloud.launch({ network, count, type: typeSmallest });
    await region.cloud.reach('running', ids);
    await region.cloud.terminate(ids);
  };

  it(`leaves nothing after ${launches} times, ${atOnce} at once`, async () => {
    // The first ones fill what is kept on purpose: the image cache of every host.
    await cycle(atOnce);
    const earlier = await settled();
    for (let done = 0; done < launches; done += atOnce) await cycle(atOnce);
    await until(
      'nothing to be left over',
      async () => same(earlier, await inventory(region)),
      settleMs,
    ).catch(async () => assert.deepEqual(await inventory(region), earlier));
  });

  it('leaves nothing of a VM that is terminated while it comes up', async () => {
    const earlier = await settled();
    await region.cloud.terminate(await region.cloud.launch({ network, count: atOnce, type: typeSmallest }));
    await until(
      'nothing to be left over',
      async () => same(earlier, await inventory(region)),
      settleMs,
    ).catch(async () => assert.deepEqual(await inventory(region), earlier));
  });

  const same = (one: object, other: object): boolean => JSON.stringify(one) === JSON.stringify(other);

  /** The inventory once two looks at it agree. */
  async function settled(): Promise<Record<string, string[]>> {
    let last = await inventory(region);
    return until('the region to come to rest', async () => {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      const now = await inventory(region);
      const rests = same(last, now);
      last = now;
      return rests && now;
    });
  }
});
