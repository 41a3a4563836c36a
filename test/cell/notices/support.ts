/** A cell whose hosts are small, and what clients ask it about capacity. */
import assert from 'node:assert/strict';
import { driftsOf, misfitsOf } from '#cell/store/claims-check.ts';
import type { Sql } from '#cell/store/sql.ts';
import type { Faults } from '#cell/workflow/faults.ts';
import type { RequestView } from '#contracts/capacity.ts';
import { accountId, ec2, type TestCell, type TestProcessor, until } from '../support/harness.ts';

let calls = 0;

export const capacityCall = async (
  processor: TestProcessor,
  action: string,
  input: object = {},
  account = accountId,
): Promise<Record<string, unknown>> => {
  calls += 1;
  const output = await processor.cell.capacityCall({
    ...{ requestId: `call-${calls}`, accountId: account, principal: 'arn:test', action, input },
  });
  return JSON.parse(JSON.stringify(output)) as Record<string, unknown>;
};

export const createRequest = async (
  processor: TestProcessor,
  input: object = {},
  account = accountId,
): Promise<RequestView> =>
  (await capacityCall(
    processor,
    'createRequest',
    { instanceType: 'p1.nano', diskGib: 1, ...input },
    account,
  )) as unknown as RequestView;

export const showRequest = async (
  processor: TestProcessor,
  requestId: string,
  account = accountId,
): Promise<RequestView> =>
  (await capacityCall(processor, 'showRequest', { requestId }, account)) as unknown as RequestView;

/** Waits until a request is in this state. */
export const reaches = (
  processor: TestProcessor,
  requestId: string,
  state: string,
  account = accountId,
): Promise<RequestView> =>
  until(`${requestId} ${state}`, async () => {
    const request = await showRequest(processor, requestId, account);
    return request.state === state && request;
  });

export const run = (cell: TestCell, count = 1, more: object = {}): object => ({
  ...{ ImageId: cell.region.imageId, InstanceType: 'p1.nano', MinCount: count, MaxCount: count },
  ...more,
});

/** A launch, with an offer or without. Gives the ids of its instances. */
export const launch = async (
  cell: TestCell,
  processor: TestProcessor,
  { count = 1, offerId, more = {} }: { count?: number; offerId?: string; more?: object } = {},
): Promise<string[]> => {
  calls += 1;
  const { output } = await processor.cell.ec2Call({
    ...{ requestId: `run-${calls}`, accountId, principal: 'arn:test', action: 'RunInstances' },
    input: run(cell, count, more),
    ...(offerId === undefined ? {} : { offerId }),
  });
  const { Instances: instances = [] } = output as { Instances?: { InstanceId: string }[] };
  return instances.map(({ InstanceId: id }) => id);
};

export const running = (processor: TestProcessor, ids: readonly string[]): Promise<unknown> =>
  until('instances run', async () => {
    const { Reservations: found } = await ec2(processor.cell, 'DescribeInstances', { InstanceIds: ids });
    const states = JSON.stringify(found).match(/"State":\{[^}]*\}/g) ?? [];
    return states.length === ids.length && states.every((state) => state.includes('running'));
  });

export const terminate = (processor: TestProcessor, ids: readonly string[]): Promise<unknown> =>
  ec2(processor.cell, 'TerminateInstances', { InstanceIds: ids });

/** Events of an account, oldest first. */
export const eventsOf = async (
  processor: TestProcessor,
  account = accountId,
): Promise<{ eventId: string; kind: string; requestId: string }[]> => {
  const { events } = await capacityCall(processor, 'events', { after: 0, maxResults: 1_000 }, account);
  return events as { eventId: string; kind: string; requestId: string }[];
};

/** The cell's own time goes on by so much. */
export const elapse = async ({ cell: { services } }: TestProcessor, ms: number): Promise<void> => {
  await services.db.query('update capacity_queue set elapsed_ms = elapsed_ms + $1', [ms]);
};

interface ToldEvent {
  readonly seq: number;
  readonly id: string;
  readonly request_id: string;
  readonly kind: string;
  readonly offer_id: string | null;
}

/**
 * What must hold whatever happened: the books balance, what is offered is reserved and nothing else is (I9), no request has two offers,
 * and of each thing that happened its owner is told once, in one row without gaps.
 */
export const assertConsistent = ({ cell: { services } }: TestProcessor): Promise<void> =>
  assertConsistentIn(services.db);

export const assertConsistentIn = async (db: Sql): Promise<void> => {
  assert.deepEqual(await driftsOf(db), []);
  assert.deepEqual(await misfitsOf(db, 10), []);
  const unbacked = await db.query(
    `select o.id from capacity_offers o where o.state = 'open' and o.mode = 'reserve'
       and o.count <> (select count(*) from claims c where c.purpose = 'notice' and c.holder = o.id)`,
  );
  assert.deepEqual(unbacked, [], 'every open offer has all of its claims');
  const ownerless = await db.query(
    `select c.id from claims c where c.purpose = 'notice' and not exists (
       select 1 from capacity_offers o where o.id = c.holder and o.state in ('open', 'accumulating'))`,
  );
  assert.deepEqual(ownerless, [], 'no claim is left of an offer that has ended');
  const twice = await db.query(
    `select request_id from capacity_offers where state = 'open' group by 1 having count(*) > 1`,
  );
  assert.deepEqual(twice, [], 'a request has one offer');
  const told = await db.query<ToldEvent>(
    `select seq, id, request_id, kind, body -> 'offer' ->> 'offerId' as offer_id from capacity_events order by seq`,
  );
  assert.deepEqual(
    told.map(({ seq }) => seq),
    told.map((_, at) => at + 1),
    'no event is missing',
  );
  const things = told.map(({ kind, request_id: id, offer_id: offer }) => `${kind} ${id} ${offer ?? ''}`);
  assert.equal(new Set(things).size, things.length, `told once: ${things.join(', ')}`);
};

/** Ends a processor at a point, once it is armed. In a transaction, the server rolls back what it had written. */
export class Deadly implements Faults {
  readonly reached = Promise.withResolvers<void>();
  #point: string | undefined;
  #doomed: TestProcessor | undefined;

  arm(point: string, doomed: TestProcessor): void {
    [this.#point, this.#doomed] = [point, doomed];
  }

  async hit(point: string): Promise<void> {
    if (point !== this.#point) return;
    this.#point = undefined;
    this.#doomed?.kill();
    this.reached.resolve();
    // What is committed is committed: then nothing of the processor goes on. A transaction it had open ends with it.
    if (point.endsWith('committed')) await new Promise(() => undefined);
    throw new Error('killed');
  }

  repeats(): boolean {
    return false;
  }
}
