/**
 * One wish in several zones (S10.2): what is asked for in another zone waits in a cell there, and all of it ends together. Two real cells
 * over one region in memory, asked as routers ask.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Faults } from '#cell/workflow/faults.ts';
import type { RequestView } from '#contracts/capacity.ts';
import { PandoError } from '#contracts/errors.ts';
import { createRequest } from '#router/capacity/create.ts';
import type { Cell } from '#router/cell.ts';
import type { Outcome } from '#router/outcome.ts';
import type { BackendCall } from '#router/processor.ts';
import type { Parts } from '#router/request.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { accountId, TestCell, type TestProcessor, until } from '../support/harness.ts';
import {
  assertConsistent,
  capacityCall,
  Deadly,
  elapse,
  eventsOf,
  launch,
  reaches,
  running,
  showRequest,
  terminate,
} from './support.ts';

interface InZone {
  readonly cell: TestCell;
  processor: TestProcessor;
}

let server: TestDatabase;
let here: InZone;
let there: InZone;
/** A cell of the last release: it knows no requests of several. */
let isFormer = false;

const startIn = async (number: number, zone: string): Promise<InZone> => {
  const cell = await TestCell.start({ url: server.url, stop: async () => undefined }, number, zone);
  cell.addHost({ capacity: { vcpus: 1, memoryMib: 128, diskMib: 100_000 } });
  return { cell, processor: await cell.addProcessor() };
};
before(async () => {
  server = await startTestDatabase();
  here = await startIn(1, 'test-1a');
  there = await startIn(2, 'test-1b');
  there.cell.region.ended = here.cell.region.ended;
  there.cell.region.offered = here.cell.region.offered;
});
after(async () => {
  await here.cell.stop();
  await there.cell.stop();
  await server.stop();
});

/** As the router has it, for what `createRequest` asks of it. */
const cellOf = ({ cell: { number, zone }, processor }: InZone): Cell => {
  const call = ({ action, input, ...caller }: BackendCall): Promise<Outcome> =>
    (isFormer && action === 'createLinked'
      ? Promise.reject(new PandoError('InvalidAction', 'There is no operation createLinked.'))
      : processor.cell.capacityCall({ ...caller, action, input })
    ).then(
      (output) => ({ state: 'answered', output: Object(output), backend: `cell-${number}` }),
      (error: unknown) => ({ state: 'refused', error: PandoError.from(error), backend: `cell-${number}` }),
    );
  return {
    record: { cellId: `cell-${number}`, number, zone, state: 'active', processors: [] },
    ...{ live: true, call },
  } as unknown as Cell;
};

let calls = 0;
const create = async (body: object): Promise<RequestView> => {
  const cells = { all: async () => [here, there].map(cellOf), cellsPerAccount: 2 };
  calls += 1;
  return (await createRequest({ cells, otherCellsMax: 1 } as unknown as Parts, {
    ...{ method: 'POST', path: 'requests', query: new URLSearchParams() },
    body: { instanceType: 'p1.micro', diskGib: 1, availabilityZone: 'test-1a', ...body },
    call: { requestId: `router-${calls}`, accountId, principal: 'arn:test' },
  })) as RequestView;
};
/** Both hosts are as big as one of this type. */
const fill = async ({ cell, processor }: InZone): Promise<string[]> => {
  const ids = await launch(cell, processor, { more: { InstanceType: 'p1.micro' } });
  await running(processor, ids);
  return ids;
};
/** Nothing is there any more, nor reserved. */
const empty = async ({ processor }: InZone, ids: readonly string[] = []): Promise<void> => {
  if (ids.length > 0) await terminate(processor, ids);
  await until('the host is empty', async () => {
    const claims = await processor.cell.services.db.query("select 1 from claims where purpose <> 'reserve'");
    return claims.length === 0;
  });
};
const companionIn = ({ alternatives }: RequestView): string => {
  const id = alternatives.find(({ availabilityZone }) => availabilityZone === 'test-1b')?.requestId;
  assert.ok(id, 'a request waits in the other zone');
  return id;
};

test('what is named in another zone waits there; when it is claimed there, the first request ends too', async () => {
  const mine = await fill(here);
  const theirs = await fill(there);
  const alternatives = [{ count: 2 }, { availabilityZone: 'test-1b', instanceType: 'p1.nano' }];
  const main = await create({ alternatives, clientToken: 'one' });
  assert.deepEqual(
    main.alternatives.map(({ instanceType, count, availabilityZone, reason }) => [
      ...[instanceType, count, availabilityZone, reason],
    ]),
    [
      ['p1.micro', 2, 'test-1a', 'You named it.'],
      ['p1.nano', 1, 'test-1b', 'You named it.'],
    ],
  );
  const companion = companionIn(main);
  assert.equal((await showRequest(there.processor, companion)).companionOf, main.requestId);
  const again = await create({ alternatives, clientToken: 'one' });
  assert.deepEqual([again.requestId, companionIn(again)], [main.requestId, companion], 'made once');
  await terminate(there.processor, theirs);
  const { offers } = await reaches(there.processor, companion, 'offered');
  assert.deepEqual([offers[0]?.original, offers[0]?.reason], [false, 'You named it.']);
  const told = (await eventsOf(there.processor)).find(({ requestId }) => requestId === companion);
  assert.equal(Reflect.get(told ?? {}, 'companionOf'), main.requestId);
  const offerId = offers[0]?.offerId ?? '';
  const claimed = await launch(there.cell, there.processor, { offerId });
  await running(there.processor, claimed);
  await reaches(here.processor, main.requestId, 'cancelled');
  const last = (await eventsOf(here.processor)).at(-1);
  assert.equal(last?.kind, 'request.cancelled');
  assert.match(String(Reflect.get(last ?? {}, 'message')), new RegExp(`${companion}.*was fulfilled`));
  await empty(there, claimed);
  await empty(here, mine);
});

test('who cancels the first request gives back what was reserved in other zones', async () => {
  const mine = await fill(here);
  const main = await create({ suggestAlternatives: true });
  const companion = companionIn(main);
  assert.match(
    main.alternatives.find(({ requestId }) => requestId === companion)?.reason ?? '',
    /^The same in test-1b/,
  );
  await reaches(there.processor, companion, 'offered');
  await capacityCall(here.processor, 'cancelRequest', { requestId: main.requestId });
  const { offers } = await reaches(there.processor, companion, 'cancelled');
  assert.deepEqual(
    offers.map(({ state }) => state),
    ['given-back'],
  );
  await empty(there);
  await empty(here, mine);
});

test('a companion that is cancelled ends alone', async () => {
  const mine = await fill(here);
  const theirs = await fill(there);
  const main = await create({ alternatives: [{ availabilityZone: 'test-1b' }] });
  const companion = companionIn(main);
  await capacityCall(there.processor, 'cancelRequest', { requestId: companion });
  await until('the region knows', () => here.cell.region.ended.has(companion));
  await terminate(here.processor, mine);
  await reaches(here.processor, main.requestId, 'offered');
  await capacityCall(here.processor, 'cancelRequest', { requestId: main.requestId });
  await empty(here);
  await empty(there, theirs);
});

const openOffers = async ({ processor }: InZone, requestId: string): Promise<string[]> =>
  (await showRequest(processor, requestId)).offers
    .filter(({ state }) => state === 'open')
    .map(({ offerId }) => offerId);
const waitsFor = async ({ processor }: InZone, requestId: string): Promise<string | null | undefined> =>
  (
    await processor.cell.services.db.query<{ waits_for: string | null }>(
      'select waits_for from capacity_requests where id = $1',
      [requestId],
    )
  )[0]?.waits_for;
const withdrawals = async ({ processor }: InZone, requestId: string) =>
  (await eventsOf(processor)).filter(
    (event) => event.kind === 'capacity.withdrawn' && event.requestId === requestId,
  );
const wanted = { alternatives: [{ availabilityZone: 'test-1b' }] };
/** The first one's place is taken, and the other zone's is offered. */
const offeredThere = async () => {
  const mine = await fill(here);
  const main = await create(wanted);
  const companion = companionIn(main);
  const { offers } = await reaches(there.processor, companion, 'offered');
  return { mine, main: main.requestId, companion, offerId: offers[0]?.offerId ?? '' };
};

test('one is offered at a time: what was asked for goes before the other zone, which gives back and waits until that is over', async () => {
  const { mine, main, companion, offerId } = await offeredThere();
  const claimed = () =>
    there.processor.cell.services.db.query("select 1 from claims where purpose = 'notice'");
  assert.equal((await claimed()).length, 1);
  await terminate(here.processor, mine);
  const { offers } = await reaches(here.processor, main, 'offered');
  const mains = offers.at(-1)?.offerId;
  await until('the other zone has given back', async () => (await openOffers(there, companion)).length === 0);
  const shown = await showRequest(there.processor, companion);
  assert.deepEqual([shown.state, shown.offers.at(-1)?.state], ['waiting', 'given-back']);
  assert.equal((await claimed()).length, 0, 'its place is free');
  assert.equal(await waitsFor(there, companion), mains);
  const [told, ...more] = await withdrawals(there, companion);
  assert.deepEqual(more, []);
  assert.match(String(Reflect.get(told ?? {}, 'message')), new RegExp(`${main}.*is offered ${mains}`));
  await assert.rejects(launch(there.cell, there.processor, { offerId }), {
    code: 'InvalidCapacityOfferState',
  });
  // The offer here lapses, and nothing more is offered here.
  const { db } = here.processor.cell.services;
  await db.query("update hosts set state = 'draining'");
  await elapse(here.processor, 301_000);
  await reaches(here.processor, main, 'waiting');
  await reaches(there.processor, companion, 'offered');
  assert.equal(await waitsFor(there, companion), null);
  assert.deepEqual(await openOffers(here, main), []);
  await db.query("update hosts set state = 'active'");
  await assertConsistent(here.processor);
  await assertConsistent(there.processor);
  await capacityCall(here.processor, 'cancelRequest', { requestId: main });
  await reaches(there.processor, companion, 'cancelled');
  await empty(here);
  await empty(there);
});

for (const point of [
  'companions.told',
  'companions.committed',
  'companions.gaveBack',
  'companions.withdrawn',
])
  test(`both zones have offered, and the one that gives back is killed at ${point}: another does it once`, async () => {
    const deadly = new Deadly();
    there.processor.kill();
    there.processor = await there.cell.addProcessor({ faults: deadly });
    const { mine, main, companion } = await offeredThere();
    deadly.arm(point, there.processor);
    await terminate(here.processor, mine);
    await reaches(here.processor, main, 'offered');
    await deadly.reached.promise;
    there.processor = await there.cell.addProcessor();
    await until('one of the two is offered', async () => (await openOffers(there, companion)).length === 0);
    assert.equal((await openOffers(here, main)).length, 1);
    assert.equal((await withdrawals(there, companion)).length, 1, 'told once');
    await assertConsistent(there.processor);
    await capacityCall(here.processor, 'cancelRequest', { requestId: main });
    await reaches(there.processor, companion, 'cancelled');
    await empty(here);
    await empty(there);
  });

test('while the region is away the other zone offers nothing; what the first one is offered stands, and is heard of later', async () => {
  there.processor.kill();
  there.cell.region.before = (method) => {
    if (method === 'region.endedRequests') throw new PandoError('HostUnreachable', 'The region is away.');
  };
  const held = Promise.withResolvers<void>();
  const faults: Faults = {
    hit: (point) => (point === 'companions.told' ? held.promise : Promise.resolve()),
    repeats: () => false,
  };
  there.processor = await there.cell.addProcessor({ faults });
  const main = await create(wanted);
  const companion = companionIn(main);
  const [offer] = (await reaches(here.processor, main.requestId, 'offered')).offers;
  const ticks = async (): Promise<number> =>
    (
      await there.processor.cell.services.db.query<{ ticks: number }>(
        'select ticks::int as ticks from capacity_queue',
      )
    )[0]?.ticks ?? 0;
  const offersNothing = async (): Promise<void> => {
    const before = await ticks();
    await until('the queue has been looked at', async () => (await ticks()) >= before + 2);
    assert.deepEqual((await showRequest(there.processor, companion)).offers, []);
  };
  await offersNothing();
  const answered = Promise.withResolvers<void>();
  there.cell.region.before = (method) => {
    if (method === 'region.endedRequests') answered.resolve();
  };
  await answered.promise;
  // It has the region's answer, and has not heeded it yet.
  await offersNothing();
  held.resolve();
  await until('it has heard', async () => (await waitsFor(there, companion)) === offer?.offerId);
  assert.deepEqual((await showRequest(there.processor, companion)).offers, []);
  const claimed = await launch(here.cell, here.processor, {
    ...{ offerId: offer?.offerId ?? '', more: { InstanceType: 'p1.micro' } },
  });
  await reaches(there.processor, companion, 'cancelled');
  await running(here.processor, claimed);
  await empty(here, claimed);
  await empty(there);
});

test('a region of the last release knows of no offers: the other zone offers as it did', async () => {
  there.processor.kill();
  there.cell.region.before = (method) => {
    if (method === 'region.endedRequests')
      throw new PandoError('UnsupportedOperation', 'region.endedRequests is not served here.');
  };
  there.processor = await there.cell.addProcessor();
  const { mine, main, companion } = await offeredThere();
  there.cell.region.before = () => undefined;
  await capacityCall(here.processor, 'cancelRequest', { requestId: main });
  await reaches(there.processor, companion, 'cancelled');
  await empty(here, mine);
  await empty(there);
});

test('a zone that does not exist, and more of them than are waited in, are refused; nothing waits then', async () => {
  const open = async (): Promise<number> =>
    (await here.processor.cell.services.db.query("select 1 from capacity_requests where state = 'waiting'"))
      .length;
  const before = await open();
  await assert.rejects(create({ alternatives: [{ availabilityZone: 'nowhere' }] }), /\[nowhere\]/);
  const many = Array.from({ length: 5 }, (_, at) => ({ availabilityZone: `zone-${at}` }));
  await assert.rejects(create({ alternatives: many }), /4 other zones at most/);
  await assert.rejects(create({ alternatives: [{ count: 0 }] }), /alternatives/);
  assert.equal(await open(), before);
});

test('cells of the last release: a suggestion elsewhere is left out, what is named elsewhere is refused in their words', async () => {
  isFormer = true;
  try {
    const { requestId, alternatives } = await create({ suggestAlternatives: true });
    assert.ok(alternatives.every(({ availabilityZone }) => availabilityZone === 'test-1a'));
    await capacityCall(here.processor, 'cancelRequest', { requestId });
    await assert.rejects(
      create({ alternatives: [{ availabilityZone: 'test-1b' }] }),
      /no hosts in the zone test-1b/,
    );
  } finally {
    isFormer = false;
  }
});
