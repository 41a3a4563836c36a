/**
 * A client token that is sent again without any mark, to another router, while the cell that has it is dead: that router knows nothing of
 * it and would choose another cell. All are processes of their own.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EC2Client, type Reservation, RunInstancesCommand } from '@aws-sdk/client-ec2';
import { cellNumberOf } from '#contracts/ids.ts';
import { problemsOf } from './support/books.ts';
import { regionName, type StormCell, StormRegion } from './support/region.ts';
import { settles } from './support/storm.ts';
import { Ledger, smallest } from './support/users.ts';

let region: StormRegion;
let clients: readonly EC2Client[] = [];
const ledger = new Ledger();

before(async () => {
  // Routers that take no token for one that was sent before: as those that have run for a while.
  region = await StormRegion.start({
    cells: 2,
    hostsPerCell: 1,
    routers: 2,
    routerLimits: { repeatsWithinMs: 0 },
  });
  const { accountId: _, ...credentials } = await region.account('repeats');
  clients = region.ports.map(
    (port) =>
      new EC2Client({
        endpoint: `http://127.0.0.1:${port}`,
        region: regionName,
        credentials,
        maxAttempts: 1,
      }),
  );
});
after(async () => {
  for (const client of clients) client.destroy();
  await region?.stop();
});

/** Always as a first attempt. */
const launch = async (router: number, token: string): Promise<string> => {
  const client = clients[router];
  assert.ok(client !== undefined);
  const answer: Reservation = await client.send(
    new RunInstancesCommand({
      ...{ ImageId: region.imageId, InstanceType: smallest, MinCount: 1, MaxCount: 1, ClientToken: token },
    }),
  );
  return answer.Instances?.[0]?.InstanceId ?? assert.fail('no instance');
};

const cellOf = (id: string): StormCell =>
  region.cells.find(({ number }) => number === cellNumberOf(id)) ?? assert.fail(id);

test('it is not launched again elsewhere, and meets its launch when the cell is back', async () => {
  const ids = new Map<string, string>();
  for (let at = 0; at < 8; at += 1) ids.set(`repeated-${at}`, await launch(0, `repeated-${at}`));
  for (const [token, id] of ids) ledger.promised.push({ token, ids: new Set([id]), wish: 'running' });
  for (const cell of region.cells) {
    const tokens = [...ids].filter(([, id]) => cellOf(id) === cell);
    assert.ok(tokens.length > 0, `${cell.cellId} has none of eight`);
    for (const each of cell.processes) await each.stop();
    const others = region.cells.filter((each) => each !== cell);
    await region.routed(others);
    for (const [token] of tokens)
      await assert.rejects(launch(1, token), { name: 'Unavailable' }, `${token}, whose cell is dead`);
    // The others' launches go on, and new tokens find a place.
    const id = await launch(1, `fresh-${cell.number}`);
    assert.ok(others.includes(cellOf(id)));
    ledger.promised.push({ token: `fresh-${cell.number}`, ids: new Set([id]), wish: 'running' });
    for (const each of cell.processes) each.resume();
    await region.ready();
    for (const [token, first] of tokens) assert.equal(await launch(1, token), first);
  }
  const { problems } = await settles(() => problemsOf(region, ledger));
  assert.deepEqual(problems, []);
});
