/** Terminate leaves nothing (S1.12): everything countable is the same before and after many launches. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Network, typeSmallest } from './support/cloud.ts';
import { inventory } from './support/inventory.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { until } from './support/until.ts';

const launches = 20;
const atOnce = 4;
const settleMs = 60_000;
/** Cards and the gateway keep a VPC open for a minute after its last port; the region's reconciler sees a moment later that it is over. */
const closedMsMax = 120_000;
/** What is there of an open VPC: its namespaces, its cable to the gateway's main namespace, what is written down of it. */
const ofOpenVpcs = /-vpc-|\bgw[0-9a-f]{4,}\b|\/vpcs\//;

describe('launch and terminate', { timeout: 14 * 60_000 }, () => {
  let region: TestRegion;
  let network: Network;
  let atFirst: Record<string, string[]>;

  before(async () => {
    region = await startRegion();
    atFirst = await inventory(region);
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
    await until('nothing to be left over', async () => same(earlier, await settledPart()), settleMs).catch(
      async () => assert.deepEqual(await settledPart(), earlier),
    );
  });

  it('leaves nothing of a VM that is terminated while it comes up', async () => {
    const earlier = await settled();
    await region.cloud.terminate(await region.cloud.launch({ network, count: atOnce, type: typeSmallest }));
    await until('nothing to be left over', async () => same(earlier, await settledPart()), settleMs).catch(
      async () => assert.deepEqual(await settledPart(), earlier),
    );
  });

  it('closes the VPCs that were kept open for the next launch: then all is as before the first one', async () => {
    const expected = lasting(atFirst);
    await until(
      'nothing to be left over',
      async () => same(expected, lasting(await inventory(region))),
      closedMsMax,
    ).catch(async () => assert.deepEqual(lasting(await inventory(region)), expected));
  });

  /** Without what the first VM leaves on purpose: fetched images, states that were heard, the groups in which VMs' groups are made. */
  const lasting = ({ files: _, cgroups = [], ...rest }: Record<string, string[]>) => ({
    ...rest,
    cgroups: cgroups.filter((path) => !/-h-\d+$/.test(path)),
  });

  /** The inventory without VPCs that are kept open. */
  const settledPart = async (): Promise<Record<string, string[]>> =>
    Object.fromEntries(
      Object.entries(await inventory(region)).map(([kind, names]) => [
        kind,
        names.filter((name) => !ofOpenVpcs.test(name)),
      ]),
    );

  const same = (one: object, other: object): boolean => JSON.stringify(one) === JSON.stringify(other);

  /** The inventory once two looks at it agree. */
  async function settled(): Promise<Record<string, string[]>> {
    let last = await settledPart();
    return until('the region to come to rest', async () => {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      const now = await settledPart();
      const rests = same(last, now);
      last = now;
      return rests && now;
    });
  }
});
