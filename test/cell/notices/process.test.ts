/**
 * Requests for capacity under real processors' processes and a real `kill -9` (S10.5): while capacity is given back, while it is offered, while
 * an offer is claimed. Whatever the process was about, the other finishes it: each slot is offered once, to whoever is first.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Reservation } from '@aws-sdk/client-ec2';
import { openDatabase } from '#base/postgres/database.ts';
import { type CellSchema, databaseOver } from '#cell/store/sql.ts';
import type { RequestView } from '#contracts/capacity.ts';
import { until } from '../support/harness.ts';
import { CellProcesses } from '../support/processes.ts';
import { assertConsistentIn } from './support.ts';

const names = ['one', 'two'] as const;
const slots = 4;
let cell: CellProcesses;
before(async () => {
  cell = await CellProcesses.start(names, 1, { vcpus: slots / 4, memoryMib: 64 * slots, diskMib: 100_000 });
});
after(() => cell.stop());

const run = async (name: string, token: string, offerId?: string): Promise<string> => {
  const input = { ImageId: cell.region.imageId, InstanceType: 'p1.nano', MinCount: 1, MaxCount: 1 };
  const made = await cell.call(name, 'RunInstances', { ...input, ClientToken: token }, offerId);
  return (made as Reservation).Instances?.[0]?.InstanceId ?? '';
};
const show = (name: string, requestId: string): Promise<RequestView> =>
  cell.capacityCall(name, 'showRequest', { requestId }) as unknown as Promise<RequestView>;
const reaches = (name: string, requestId: string, state: string): Promise<RequestView> =>
  until(
    `${requestId} ${state}`,
    async () => {
      const shown = await show(name, requestId).catch(() => undefined);
      return shown?.state === state && shown;
    },
    30_000,
  );

interface Round {
  readonly name: string;
  /** The call of a processor in whose middle it is killed. */
  readonly at: string | undefined;
}
const rounds: readonly Round[] = [
  { name: 'before its slot is given back', at: 'vm.destroy' },
  { name: 'as soon as it is offered', at: undefined },
  { name: 'while the offer is claimed', at: 'vm.launch' },
];

test('processors are killed with -9 all along: each slot is offered once, in order, and what is offered is kept', async () => {
  let live: string[] = [];
  for (let at = 0; at < slots; at++) live.push(await run('one', `fill-${at}`));
  await until(
    'all run',
    () => cell.world.violations.length === 0 && cell.hosts[0]?.vms.size === slots,
    30_000,
  );
  const waiting: string[] = [];
  for (let at = 0; at < rounds.length * names.length; at++) {
    const made = await cell.capacityCall('one', 'createRequest', {
      ...{ instanceType: 'p1.nano', diskGib: 1, clientToken: `wait-${at}` },
    });
    waiting.push((made as unknown as RequestView).requestId);
  }
  const order = [...waiting];
  for (const victim of names)
    for (const { name, at } of rounds) {
      const other = victim === 'one' ? 'two' : 'one';
      const killed = Promise.withResolvers<void>();
      const kill = (): void => {
        cell.gate = () => undefined;
        cell.children.get(victim)?.kill('SIGKILL');
        killed.resolve();
      };
      const arm = (method: string): void => {
        cell.gate = (processor, called) => {
          if (processor === victim && called === method) kill();
        };
      };
      const [gone = '', ...rest] = live;
      const first = order.shift() ?? '';
      if (at === 'vm.destroy') arm(at);
      // Either processor carries it out: the victim is killed when it does, or else when all is done.
      await cell.call(victim, 'TerminateInstances', { InstanceIds: [gone] }).catch(() => undefined);
      const { offers } = await reaches(other, first, 'offered');
      if (at === undefined) kill();
      const offerId = offers.find(({ state }) => state === 'open')?.offerId ?? '';
      const token = `claim-${victim}-${name}`;
      if (at === 'vm.launch') arm(at);
      await run(victim, token, offerId).catch(() => undefined);
      if (cell.children.get(victim)?.signalCode === null) kill();
      await killed.promise;
      // Who got no answer asks the other again, with the same token.
      const id = await run(other, token, offerId);
      await reaches(other, first, 'fulfilled');
      live = [...rest, id];
      await until(
        `${name}: it runs once`,
        () => cell.world.runningOn(id).length === 1 && cell.world.runningOn(gone).length === 0,
        30_000,
      );
      for (const next of order)
        assert.equal((await show(other, next)).state, 'waiting', 'no more than is free');
      await cell.startProcessor(victim);
      await cell.ready(victim);
    }
  assert.deepEqual(cell.world.violations, []);
  assert.equal(cell.hosts[0]?.vms.size, slots);
  for (const requestId of waiting) {
    const { offers } = await show('one', requestId);
    assert.deepEqual(
      offers.map(({ state }) => state),
      ['claimed'],
      'offered once',
    );
  }
  const handle = openDatabase<CellSchema>({ url: cell.databaseUrl });
  try {
    await assertConsistentIn(databaseOver(handle));
  } finally {
    await handle.destroy();
  }
});
