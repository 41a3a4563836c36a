/** An offer that runs out and a launch that claims it, at the same instant on two processors; clocks that are stepped (S10.5, I9). */
import assert from 'node:assert/strict';
import { after, afterEach, before, mock, test } from 'node:test';
import type { Faults } from '#cell/workflow/faults.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { TestCell, type TestProcessor, until } from '../support/harness.ts';
import { assertConsistent, createRequest, elapse, eventsOf, launch, reaches, running } from './support.ts';

let server: TestDatabase;
let cell: TestCell;
before(async () => {
  server = await startTestDatabase();
});
afterEach(() => cell.reset());
after(() => server.stop());

/** Holds whoever comes to a point first, until it is let go. */
class Holding implements Faults {
  #point: string | undefined;
  #held = Promise.withResolvers<void>();
  #go = Promise.withResolvers<void>();

  hold(point: string): { readonly held: Promise<void>; letGo(): void } {
    this.#point = point;
    [this.#held, this.#go] = [Promise.withResolvers(), Promise.withResolvers()];
    return { held: this.#held.promise, letGo: this.#go.resolve };
  }

  async hit(point: string): Promise<void> {
    if (point !== this.#point) return;
    this.#point = undefined;
    this.#held.resolve();
    await this.#go.promise;
  }

  repeats(): boolean {
    return false;
  }
}

const start = async (slots: number) => {
  cell = await TestCell.start({ url: server.url, stop: async () => undefined });
  cell.addHost({ capacity: { vcpus: slots / 4, memoryMib: 64 * slots, diskMib: 100_000 } });
  const faults = new Holding();
  return { faults, one: await cell.addProcessor({ faults }), two: await cell.addProcessor({ faults }) };
};
const offered = async (processor: TestProcessor): Promise<{ requestId: string; offerId: string }> => {
  const { requestId } = await createRequest(processor, { offerSeconds: 10 });
  const { offers } = await reaches(processor, requestId, 'offered');
  return { requestId, offerId: offers.at(-1)?.offerId ?? '' };
};
const kindsOf = async (processor: TestProcessor, requestId: string): Promise<string[]> =>
  (await eventsOf(processor)).filter((event) => event.requestId === requestId).map(({ kind }) => kind);

test('the claim came first: the offer’s time runs out behind it, and it is claimed', async () => {
  const { faults, one, two } = await start(1);
  const { requestId, offerId } = await offered(one);
  const { held, letGo } = faults.hold('offer.found');
  const launched = launch(cell, one, { offerId });
  await held;
  // Both wait for the queue, which the launch has.
  const ranOut = elapse(two, 11_000);
  letGo();
  await running(two, await launched);
  await ranOut;
  await looks(two, 3);
  assert.deepEqual(await kindsOf(two, requestId), ['capacity.offered', 'capacity.claimed']);
  await assertConsistent(two);
});

test('the end came first: the claim behind it is refused, and the offer has lapsed once', async () => {
  const { faults, one, two } = await start(1);
  const { requestId, offerId } = await offered(one);
  const { held, letGo } = faults.hold('queue.lapsed');
  await elapse(two, 11_000);
  await held;
  const launched = [launch(cell, one, { offerId }), launch(cell, two, { offerId })];
  letGo();
  await Promise.all(launched.map((each) => assert.rejects(each, { code: 'InvalidCapacityOfferState' })));
  await reaches(two, requestId, 'offered');
  assert.deepEqual(await kindsOf(two, requestId), [
    'capacity.offered',
    'capacity.lapsed',
    'capacity.offered',
  ]);
  await assertConsistent(two);
});

test('twelve at once, on two processors: each is claimed or has lapsed, never both and never neither', async (t) => {
  const { faults, one, two } = await start(12);
  const all = await Promise.all(Array.from({ length: 12 }, () => offered(one)));
  const claim = ({ offerId }: { offerId: string }, at: number) =>
    launch(cell, at % 2 === 0 ? one : two, { offerId });
  const early = all.slice(0, 6).map(claim);
  await Promise.race(early);
  const { held, letGo } = faults.hold('queue.lapsed');
  // Behind some of them, and before others: whoever has the queue's lock first.
  await elapse(one, 11_000);
  const late = held.then(() => {
    const launches = all.slice(6).map(claim);
    letGo();
    return Promise.allSettled(launches);
  });
  const outcomes = [...(await Promise.allSettled(early)), ...(await late)];
  await until('what was not claimed has lapsed', async () => {
    const events = await eventsOf(two);
    return all.every(({ requestId }) =>
      events.some((event) => event.requestId === requestId && event.kind !== 'capacity.offered'),
    );
  });
  let claimed = 0;
  for (const [at, outcome] of outcomes.entries()) {
    const kinds = await kindsOf(two, all[at]?.requestId ?? '');
    const won = outcome.status === 'fulfilled';
    claimed += Number(won);
    assert.deepEqual(kinds.slice(0, 2), ['capacity.offered', won ? 'capacity.claimed' : 'capacity.lapsed']);
    if (outcome.status === 'rejected')
      assert.equal((outcome.reason as { code?: string }).code, 'InvalidCapacityOfferState');
  }
  await assertConsistent(two);
  t.diagnostic(`${claimed} of 12 claimed, ${12 - claimed} lapsed`);
});

/** Until the queue has been looked at so many times more. */
const looks = async ({ cell: { services } }: TestProcessor, times: number): Promise<void> => {
  const count = async () =>
    (await services.db.query<{ ticks: number }>('select ticks from capacity_queue'))[0]?.ticks ?? 0;
  const before = await count();
  await until('it has looked', async () => (await count()) >= before + times);
};
const elapsedMs = async ({ cell: { services } }: TestProcessor): Promise<number> =>
  (await services.db.query<{ ms: number }>('select elapsed_ms as ms from capacity_queue'))[0]?.ms ?? 0;

test('a clock that is stepped an hour forth and back ends no offer and no request, and tells nothing twice', async (t) => {
  const { one, two } = await start(2);
  const realNow = Date.now;
  const steps = [3_600_000, -3_600_000, 0];
  let stepMs = 0;
  mock.method(Date, 'now', () => realNow.call(Date) + stepMs);
  t.after(() => mock.restoreAll());
  const holds = [await offered(one), await offered(two)];
  const waiting = await createRequest(one, { validSeconds: 600 });
  const [began, beganMs] = [realNow(), await elapsedMs(one)];
  for (const step of steps) {
    stepMs = step;
    await looks(one, 2);
    for (const { requestId } of holds) await reaches(two, requestId, 'offered');
    await reaches(one, waiting.requestId, 'waiting');
  }
  const [took, counted] = [realNow() - began, (await elapsedMs(one)) - beganMs];
  // A look counts what passed before it, too; of a step it would have counted an hour.
  assert.ok(counted <= took + 60_000, `${counted} ms counted in ${took} ms`);
  stepMs = 3_600_000;
  const [first, second] = holds;
  await running(one, await launch(cell, one, { offerId: first?.offerId ?? '' }));
  stepMs = -3_600_000;
  await running(two, await launch(cell, two, { offerId: second?.offerId ?? '' }));
  for (const { requestId } of holds)
    assert.deepEqual(await kindsOf(one, requestId), ['capacity.offered', 'capacity.claimed']);
  await assertConsistent(two);
});
