/** Requests for capacity in a cell: wait, are offered what becomes free, are claimed by a launch, run out (S10.1–S10.5, I9). */
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { countElapsed } from '#cell/store/capacity-requests.ts';
import { driftsOf, misfitsOf } from '#cell/store/claims-check.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { accountId, TestCell, type TestProcessor, until } from '../support/harness.ts';
import {
  capacityCall,
  createRequest,
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

/** One host with room for `slots` of the smallest type. */
const start = async (slots: number): Promise<TestProcessor> => {
  cell = await TestCell.start({ url: server.url, stop: async () => undefined });
  cell.addHost({
    capacity: { vcpus: slots / 4, memoryMib: 64 * slots, diskMib: 100_000 },
  });
  return cell.addProcessor();
};

const booksBalance = async ({ cell: { services } }: TestProcessor): Promise<void> => {
  assert.deepEqual(await driftsOf(services.db), []);
  assert.deepEqual(await misfitsOf(services.db, 10), []);
};

test('a request waits, is offered what is terminated, and the launch with its offer gets it', async () => {
  const processor = await start(2);
  const ids = await launch(cell, processor, { count: 2 });
  await running(processor, ids);
  const request = await createRequest(processor);
  assert.equal(request.state, 'waiting');
  await assert.rejects(launch(cell, processor), { code: 'InsufficientInstanceCapacity' });
  await terminate(processor, ids.slice(0, 1));
  const { offers } = await reaches(processor, request.requestId, 'offered');
  const [offer] = offers;
  assert.equal(offer?.state, 'open');
  assert.deepEqual(offer?.claim, { header: 'x-pando-hold', value: offer?.offerId });
  // I9: it is nobody else's.
  await assert.rejects(launch(cell, processor), { code: 'InsufficientInstanceCapacity' });
  const [mine] = await launch(cell, processor, { offerId: offer?.offerId ?? '' });
  assert.ok(mine);
  await running(processor, [mine]);
  const shown = await showRequest(processor, request.requestId);
  assert.equal(shown.state, 'fulfilled');
  assert.equal(shown.offers[0]?.state, 'claimed');
  await assert.rejects(launch(cell, processor, { offerId: offer?.offerId ?? '' }), {
    code: 'InvalidCapacityOfferState',
  });
  assert.deepEqual(
    (await eventsOf(processor)).map(({ kind }) => kind),
    ['capacity.offered', 'capacity.claimed'],
  );
  await booksBalance(processor);
});

test('within a class in order; one slot is offered to one, the others wait', async () => {
  const processor = await start(1);
  const ids = await launch(cell, processor);
  await running(processor, ids);
  const requests = [];
  for (let n = 0; n < 5; n++) requests.push(await createRequest(processor));
  assert.deepEqual(
    (await showRequest(processor, requests[4]?.requestId ?? '')).ahead,
    4,
    'how many are before it',
  );
  await terminate(processor, ids);
  await reaches(processor, requests[0]?.requestId ?? '', 'offered');
  for (const { requestId } of requests.slice(1))
    assert.equal((await showRequest(processor, requestId)).state, 'waiting');
  assert.equal((await eventsOf(processor)).length, 1);
});

test('an offer that lapses goes to the next; who let it lapse waits behind', async () => {
  const processor = await start(1);
  const first = await createRequest(processor, { offerSeconds: 10 });
  const offered = await reaches(processor, first.requestId, 'offered');
  const second = await createRequest(processor, { offerSeconds: 10 });
  await elapse(processor, 11_000);
  await reaches(processor, second.requestId, 'offered');
  const again = await showRequest(processor, first.requestId);
  assert.equal(again.state, 'waiting');
  assert.equal(again.offers[0]?.state, 'lapsed');
  await assert.rejects(launch(cell, processor, { offerId: offered.offers[0]?.offerId ?? '' }), {
    code: 'InvalidCapacityOfferState',
  });
  await booksBalance(processor);
});

test('what nobody claims three times ends; a request ends with its validity; cancel gives back', async () => {
  const processor = await start(1);
  const lazy = await createRequest(processor, { offerSeconds: 10 });
  for (let n = 0; n < 3; n++) {
    await reaches(processor, lazy.requestId, 'offered');
    await elapse(processor, 11_000);
    await until('it lapsed', async () => (await showRequest(processor, lazy.requestId)).offers.length > n);
    await until(
      'it is looked at',
      async () => (await showRequest(processor, lazy.requestId)).offers[n]?.state === 'lapsed',
    );
  }
  assert.equal((await showRequest(processor, lazy.requestId)).state, 'lapsed');
  const holder = await createRequest(processor);
  await reaches(processor, holder.requestId, 'offered');
  const brief = await createRequest(processor, { validSeconds: 60 });
  await elapse(processor, 61_000);
  await reaches(processor, brief.requestId, 'expired');
  assert.equal((await showRequest(processor, holder.requestId)).state, 'offered', 'I9');
  const next = await createRequest(processor);
  assert.equal(
    (await capacityCall(processor, 'cancelRequest', { requestId: holder.requestId })).state,
    'cancelled',
  );
  await reaches(processor, next.requestId, 'offered');
  await booksBalance(processor);
});

test('a race that is lost fails cleanly, and its request waits in its old place', async () => {
  const processor = await start(1);
  const racer = await createRequest(processor, { mode: 'race' });
  const { offers } = await reaches(processor, racer.requestId, 'offered');
  const later = await createRequest(processor, { mode: 'race' });
  const ids = await launch(cell, processor);
  await running(processor, ids);
  const lost = launch(cell, processor, { offerId: offers[0]?.offerId ?? '' });
  await assert.rejects(lost, (error: { code: string; details?: { pendingId?: string } }) => {
    assert.equal(error.code, 'InsufficientInstanceCapacity');
    assert.equal(error.details?.pendingId, racer.requestId);
    return true;
  });
  const again = await showRequest(processor, racer.requestId);
  assert.deepEqual([again.state, again.ahead], ['waiting', 0]);
  assert.ok(later.requestId);
});

test('the same token gives the same request; another request under it is refused; accounts do not see each other', async () => {
  const processor = await start(1);
  const one = await createRequest(processor, { clientToken: 't', instanceType: 'p1.large' });
  const same = await createRequest(processor, { clientToken: 't', instanceType: 'p1.large' });
  assert.equal(one.requestId, same.requestId);
  await assert.rejects(createRequest(processor, { clientToken: 't', count: 2 }), {
    code: 'IdempotentParameterMismatch',
  });
  await assert.rejects(showRequest(processor, one.requestId, '999999999999'), {
    code: 'InvalidCapacityRequest.NotFound',
  });
  assert.deepEqual(await eventsOf(processor, '999999999999'), []);
});

test('bad input is refused with what is wrong, and changes nothing', async () => {
  const processor = await start(1);
  const bad: readonly [object, RegExp][] = [
    [{ alternatives: Array.from({ length: 1_000 }, () => ({ count: 1 })) }, /alternatives/],
    [{ count: 0 }, /count/],
    [{ count: 1.5 }, /count/],
    [{ mode: 'grab' }, /mode/],
    [{ offerSeconds: 1e9 }, /offerSeconds/],
    [{ instanceType: 'no.such' }, /InstanceType/],
    [{ availabilityZone: 'elsewhere' }, /zone/],
    [{ callback: { url: 'file:///etc/passwd' } }, /callback.url/],
    [{ nonsense: true }, /nonsense/],
  ];
  for (const [input, message] of bad)
    await assert.rejects(createRequest(processor, input), { code: 'InvalidParameterValue', message });
  const { requests } = await capacityCall(processor, 'listRequests');
  assert.deepEqual(requests, []);
});

test('an account has a limited number of requests that wait', async () => {
  const processor = await start(1);
  const ids = await launch(cell, processor);
  await running(processor, ids);
  await Promise.all(Array.from({ length: 100 }, () => createRequest(processor)));
  await assert.rejects(createRequest(processor), { code: 'CapacityRequestLimitExceeded' });
  await createRequest(processor, {}, '222233334444');
  const pages = [];
  let after: string | undefined;
  do {
    const page = await capacityCall(processor, 'listRequests', { maxResults: 30, ...(after && { after }) });
    pages.push(...(page.requests as { requestId: string }[]));
    after = page.next as string | undefined;
  } while (after !== undefined);
  assert.equal(new Set(pages.map(({ requestId }) => requestId)).size, 100);
});

test('a big request under a flood of small ones gathers a whole host and is served; others wait meanwhile', async () => {
  const processor = await start(4);
  let ids = await launch(cell, processor, { count: 4 });
  await running(processor, ids);
  const big = await createRequest(processor, { instanceType: 'custom.1000m.256' });
  const smalls = new Map<string, string>();
  const ask = async (): Promise<void> => {
    const { requestId } = await createRequest(processor);
    smalls.set(requestId, '');
  };
  let served = 0;
  for (let turn = 0; turn < 40 && (await showRequest(processor, big.requestId)).state === 'waiting'; turn++) {
    while (smalls.size < 3) await ask();
    const [gone = '', ...rest] = ids;
    ids = rest;
    await terminate(processor, [gone]);
    const outcome = await until('somebody has the room', async () => {
      for (const id of smalls.keys()) if ((await showRequest(processor, id)).state === 'offered') return id;
      const { state, offers } = await showRequest(processor, big.requestId);
      const gathered = await partsMib(processor);
      return (state === 'offered' || (offers.length > 0 && gathered === 64 * (4 - ids.length))) && 'big';
    });
    if (outcome === 'big') continue;
    const { offers } = await showRequest(processor, outcome);
    smalls.delete(outcome);
    served += 1;
    const more = await launch(cell, processor, { offerId: offers[0]?.offerId ?? '' });
    await running(processor, more);
    ids.push(...more);
  }
  const { state, offers } = await reaches(processor, big.requestId, 'offered');
  assert.equal(state, 'offered');
  assert.ok(served >= 8, `${served} small ones were served before it`);
  const more = { InstanceType: 'custom.1000m.256' };
  const mine = await launch(cell, processor, { offerId: offers[0]?.offerId ?? '', more });
  await running(processor, mine);
  await booksBalance(processor);
});

test('what was gathered is given back when its request is cancelled', async () => {
  const processor = await start(4);
  const ids = await launch(cell, processor, { count: 2 });
  await running(processor, ids);
  const big = await createRequest(processor, { instanceType: 'custom.1000m.256' });
  await processor.cell.services.db.query('update capacity_requests set passed_over = 100');
  await until('it gathers', async () => (await partsMib(processor)) === 128);
  await assert.rejects(launch(cell, processor), { code: 'InsufficientInstanceCapacity' });
  await capacityCall(processor, 'cancelRequest', { requestId: big.requestId });
  assert.equal(await partsMib(processor), 0);
  await launch(cell, processor, { count: 2 });
  await booksBalance(processor);
});

const partsMib = async ({ cell: { services } }: TestProcessor): Promise<number> => {
  const [row] = await services.db.query<{ mib: number }>(
    `select coalesce(sum(memory_mib), 0)::int as mib from claims where purpose = 'notice'`,
  );
  return row?.mib ?? 0;
};

/** The cell's own time goes on by so much. */
const elapse = async ({ cell: { services } }: TestProcessor, ms: number): Promise<void> => {
  await services.db.query('update capacity_queue set elapsed_ms = elapsed_ms + $1', [ms]);
};

test('two processors: one of them counts the time, and both wake whoever is told', async () => {
  const processor = await start(1);
  const second = await cell.addProcessor();
  const ids = await launch(cell, processor);
  await running(processor, ids);
  const request = await createRequest(second);
  const waiting = capacityCall(second, 'events', { after: 0, waitSeconds: 10 });
  await terminate(processor, ids);
  const { events } = await waiting;
  assert.equal((events as { requestId: string }[])[0]?.requestId, request.requestId);
  processor.kill();
  const before = await time(second);
  await until('the other one counts', async () => (await time(second)) > before);
  assert.ok(accountId);
});

test('time that two saw pass is counted once, also by those who count without the lock', async () => {
  const { services } = (await start(1)).cell;
  const count = async (ticks: number): Promise<number> => {
    await services.db.query('update capacity_queue set ticks = $1', [ticks]);
    const seen = { elapsed_ms: 0, ticker: '', ticks };
    const both = ['one', 'other'].map((owner) => countElapsed(services.db, owner, seen, 10));
    return (await Promise.all(both)).filter((was) => was).length;
  };
  // The processor's own count may come between.
  const counts = [await count(1_000), await count(2_000), await count(3_000)];
  assert.equal(Math.max(...counts), 1);
});

const time = async ({ cell: { services } }: TestProcessor): Promise<number> =>
  (await services.db.query<{ ms: number }>('select elapsed_ms as ms from capacity_queue'))[0]?.ms ?? 0;
