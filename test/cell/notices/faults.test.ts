/**
 * kill -9 of a processor at every point inside of what the queue does (S10.5): whatever it was about, another finishes it. Nothing is lost,
 * nothing told twice, no hold broken (I9).
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { RequestView } from '#contracts/capacity.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { TestCell, type TestProcessor, until } from '../support/harness.ts';
import {
  assertConsistent,
  capacityCall,
  createRequest,
  Deadly,
  elapse,
  eventsOf,
  launch,
  reaches,
  running,
  showRequest,
  terminate,
} from './support.ts';

let server: TestDatabase;
let cell: TestCell;
before(async () => {
  server = await startTestDatabase();
});
afterEach(() => cell.reset());
after(() => server.stop());

/** One host with room for so many of the smallest type, and a processor that can be ended. */
const start = async (slots: number): Promise<{ deadly: Deadly; doomed: TestProcessor }> => {
  cell = await TestCell.start({ url: server.url, stop: async () => undefined });
  cell.addHost({ capacity: { vcpus: slots / 4, memoryMib: 64 * slots, diskMib: 100_000 } });
  const deadly = new Deadly();
  return { deadly, doomed: await cell.addProcessor({ faults: deadly }) };
};
const unheard = (work: Promise<unknown>): void => void work.catch(() => undefined);
const offerOf = ({ offers }: RequestView): string => offers.at(-1)?.offerId ?? '';
const kindsOf = async (processor: TestProcessor, requestId: string): Promise<string[]> =>
  (await eventsOf(processor)).filter((event) => event.requestId === requestId).map(({ kind }) => kind);

describe('a look that offers', () => {
  for (const point of ['queue.locked', 'queue.claimed', 'queue.offered', 'queue.told', 'queue.committed'])
    test(`killed at ${point}: the next one offers it once, and it is claimed`, async () => {
      const { deadly, doomed } = await start(2);
      const ids = await launch(cell, doomed, { count: 2 });
      await running(doomed, ids);
      const first = await createRequest(doomed);
      const second = await createRequest(doomed);
      deadly.arm(point, doomed);
      unheard(terminate(doomed, ids.slice(0, 1)));
      await deadly.reached.promise;
      const survivor = await cell.addProcessor();
      // Killed before it was asked for: the client asks again.
      await terminate(survivor, ids.slice(0, 1));
      const offered = await reaches(survivor, first.requestId, 'offered');
      assert.equal(offered.offers.length, 1);
      await assertConsistent(survivor);
      assert.equal((await showRequest(survivor, second.requestId)).state, 'waiting');
      await assert.rejects(launch(cell, survivor), { code: 'InsufficientInstanceCapacity' });
      await running(survivor, await launch(cell, survivor, { offerId: offerOf(offered) }));
      assert.deepEqual(await kindsOf(survivor, first.requestId), ['capacity.offered', 'capacity.claimed']);
      await assertConsistent(survivor);
    });
});

describe('a launch with an offer', () => {
  for (const point of ['offer.found', 'offer.taken', 'offer.claimed'])
    test(`killed at ${point}: the hold stands, and the same launch again has it`, async () => {
      const { deadly, doomed } = await start(1);
      const request = await createRequest(doomed);
      const offered = await reaches(doomed, request.requestId, 'offered');
      const mine = { offerId: offerOf(offered), more: { ClientToken: 'once' } };
      deadly.arm(point, doomed);
      unheard(launch(cell, doomed, mine));
      await deadly.reached.promise;
      const survivor = await cell.addProcessor();
      await assertConsistent(survivor);
      assert.equal((await showRequest(survivor, request.requestId)).state, 'offered');
      await assert.rejects(launch(cell, survivor), { code: 'InsufficientInstanceCapacity' });
      const ids = await launch(cell, survivor, mine);
      assert.deepEqual(await launch(cell, survivor, mine), ids, 'as often as it is asked for');
      await running(survivor, ids);
      assert.deepEqual(await kindsOf(survivor, request.requestId), ['capacity.offered', 'capacity.claimed']);
      await assertConsistent(survivor);
    });

  test('killed once it is committed: the instance is made by another processor, and its owner is told', async () => {
    const { deadly, doomed } = await start(1);
    const request = await createRequest(doomed);
    const mine = {
      offerId: offerOf(await reaches(doomed, request.requestId, 'offered')),
      more: { ClientToken: 'once' },
    };
    deadly.arm('offer.committed', doomed);
    unheard(launch(cell, doomed, mine));
    await deadly.reached.promise;
    const survivor = await cell.addProcessor();
    const ids = await launch(cell, survivor, mine);
    assert.equal(ids.length, 1);
    await running(survivor, ids);
    assert.deepEqual(await kindsOf(survivor, request.requestId), ['capacity.offered', 'capacity.claimed']);
    await assertConsistent(survivor);
  });

  test('a race that is lost, killed while that is written: it is lost once, in its old place', async () => {
    const { deadly, doomed } = await start(1);
    const request = await createRequest(doomed, { mode: 'race' });
    const offered = await reaches(doomed, request.requestId, 'offered');
    await running(doomed, await launch(cell, doomed));
    deadly.arm('offer.lost', doomed);
    unheard(launch(cell, doomed, { offerId: offerOf(offered) }));
    await deadly.reached.promise;
    const survivor = await cell.addProcessor();
    await assert.rejects(launch(cell, survivor, { offerId: offerOf(offered) }), {
      code: 'InsufficientInstanceCapacity',
    });
    const { state, ahead } = await showRequest(survivor, request.requestId);
    assert.deepEqual([state, ahead], ['waiting', 0]);
    assert.deepEqual(await kindsOf(survivor, request.requestId), ['capacity.offered', 'capacity.lost']);
    await assertConsistent(survivor);
  });
});

describe('what ends', () => {
  for (const point of ['queue.lapsed', 'queue.committed'])
    test(`an offer that lapses, killed at ${point}: it lapses once, and goes to the next`, async () => {
      const { deadly, doomed } = await start(1);
      const lazy = await createRequest(doomed, { offerSeconds: 10 });
      await reaches(doomed, lazy.requestId, 'offered');
      const next = await createRequest(doomed);
      deadly.arm(point, doomed);
      unheard(elapse(doomed, 11_000));
      await deadly.reached.promise;
      const survivor = await cell.addProcessor();
      await reaches(survivor, next.requestId, 'offered');
      assert.deepEqual(await kindsOf(survivor, lazy.requestId), ['capacity.offered', 'capacity.lapsed']);
      assert.equal((await showRequest(survivor, lazy.requestId)).state, 'waiting');
      await assertConsistent(survivor);
    });

  for (const point of ['request.written', 'request.committed'])
    test(`a request, killed at ${point}: asked for again with its token it is there once`, async () => {
      const { deadly, doomed } = await start(1);
      deadly.arm(point, doomed);
      unheard(createRequest(doomed, { clientToken: 't' }));
      await deadly.reached.promise;
      const survivor = await cell.addProcessor();
      const made = await createRequest(survivor, { clientToken: 't' });
      await reaches(survivor, made.requestId, 'offered');
      const { requests } = await capacityCall(survivor, 'listRequests');
      assert.equal((requests as unknown[]).length, 1);
      await assertConsistent(survivor);
    });

  test('a cancellation, killed when it has given back: all of it happens, or nothing', async () => {
    const { deadly, doomed } = await start(1);
    const { requestId } = await createRequest(doomed);
    await reaches(doomed, requestId, 'offered');
    deadly.arm('request.gaveBack', doomed);
    unheard(capacityCall(doomed, 'cancelRequest', { requestId }));
    await deadly.reached.promise;
    const survivor = await cell.addProcessor();
    assert.equal((await showRequest(survivor, requestId)).state, 'offered');
    await assertConsistent(survivor);
    await capacityCall(survivor, 'cancelRequest', { requestId });
    await running(survivor, await launch(cell, survivor));
    assert.deepEqual(await kindsOf(survivor, requestId), ['capacity.offered', 'request.cancelled']);
    await assertConsistent(survivor);
  });
});

test('a big request that gathers, killed while it does: it gathers on, and has each part once', async () => {
  const { deadly, doomed } = await start(4);
  const ids = await launch(cell, doomed, { count: 4 });
  await running(doomed, ids);
  const big = await createRequest(doomed, { instanceType: 'custom.1000m.256' });
  await doomed.cell.services.db.query('update capacity_requests set passed_over = 100');
  deadly.arm('queue.accumulated', doomed);
  unheard(terminate(doomed, ids.slice(0, 2)));
  await deadly.reached.promise;
  const survivor = await cell.addProcessor();
  await terminate(survivor, ids.slice(0, 2));
  await until('it has two of four', async () => (await gatheredMib(survivor)) === 128);
  await assertConsistent(survivor);
  await terminate(survivor, ids.slice(2));
  const { offers } = await reaches(survivor, big.requestId, 'offered');
  const more = { InstanceType: 'custom.1000m.256' };
  await running(survivor, await launch(cell, survivor, { offerId: offers.at(-1)?.offerId ?? '', more }));
  await assertConsistent(survivor);
});

const gatheredMib = async ({ cell: { services } }: TestProcessor): Promise<number> =>
  (
    await services.db.query<{ mib: number }>(
      `select coalesce(sum(memory_mib), 0)::int as mib from claims where purpose = 'notice'`,
    )
  )[0]?.mib ?? 0;
