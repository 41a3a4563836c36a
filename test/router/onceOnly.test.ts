import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { type Cloud, type Replica, startCloud } from './cloud.ts';
import type { Mode } from './fakeCell.ts';

/** What the cells do while one attempt of a client runs. */
type Weather = readonly (Mode | 'dead')[];

const attemptsMax = 4;
const triesMax = 20;

/** A cell that has the launch and fails to look it up is no cell without it. */
const foundOnce: { weather: Weather; replica: number }[] = [
  { weather: ['broken', 'dead', 'well'], replica: 1 },
  { weather: ['well', 'well', 'broken'], replica: 1 },
];

describe('a launch is carried out once (I4)', () => {
  let cloud: Cloud;
  let replicas: readonly Replica[];
  let launches = 0;
  before(async () => {
    cloud = await startCloud({ limits: { callTimeoutMs: 150, cellsEveryMs: 50, otherCellsMax: 1 } });
    replicas = [cloud, await cloud.addReplica()];
  });
  after(() => cloud.close());

  /** Makes the cells so, and waits until the router has seen who lives. */
  const arrange = async (weather: Weather): Promise<void> => {
    for (const [i, cell] of cloud.cells.entries()) {
      const wanted = weather[i] ?? 'well';
      if (wanted === 'dead') {
        await cell.kill();
        continue;
      }
      cell.mode = wanted;
      await cell.revive();
    }
    const dead = cloud.cells.filter((_, i) => weather[i] === 'dead').map(({ cellId }) => cellId);
    for (const replica of replicas)
      await replica.until(
        ({ cells }) => cells.length > 0 && cells.every(({ cellId, live }) => live !== dead.includes(cellId)),
      );
  };

  const attempt = (replica: number, token: string, number: number) => {
    const input = { ImageId: 'ami-0123456789abcdef0', MinCount: '1', MaxCount: '1', ClientToken: token };
    const form = new URLSearchParams({ Action: 'RunInstances', Version: '2016-11-15', ...input });
    const headers = { 'amz-sdk-request': `attempt=${number}; max=${attemptsMax}` };
    const { send } = replicas[replica] ?? cloud;
    return send(form.toString(), { headers });
  };
  /** As a client does: asks again where it hears 503, which a cell of a busy machine is reason enough for. */
  const answered = async (replica: number, token: string, number: number) => {
    for (let tries = 1; ; tries += 1) {
      const reply = await attempt(replica, token, number);
      if (reply.status !== 503 || tries === triesMax) return reply;
    }
  };
  const made = (token: string) =>
    cloud.cells.flatMap(({ instances }) => instances).filter(({ ClientToken }) => ClientToken === token)
      .length;

  it('whatever the cells do between attempts, and whichever replica gets them', async () => {
    const mode = fc.constantFrom<Mode | 'dead'>('well', 'full', 'mute', 'broken', 'dead');
    const weather: fc.Arbitrary<Weather> = fc.array(mode, { minLength: 3, maxLength: 3 });
    const step = fc.record({ weather, replica: fc.nat(1) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: attemptsMax }), async (steps) => {
        launches += 1;
        const token = `once-${launches}`;
        for (const [i, { weather, replica }] of steps.entries()) {
          await arrange(weather);
          await attempt(replica, token, i + 1);
        }
        await arrange(['well', 'well', 'well']);
        const last = await answered(0, token, attemptsMax + 1);
        assert.equal(last.status, 200, last.body);
        assert.equal(made(token), 1, token);
      }),
      { numRuns: 20, examples: [[foundOnce]] },
    );
  });

  it('when a router that has just started is asked again for what another one took, and the client does not say so', async () => {
    replicas = [cloud, await cloud.addReplica({ repeatsWithinMs: 600_000 })];
    const tokens = Array.from({ length: 12 }, (_each, at) => `young-${at}`);
    // Whichever cell is a token's first: it is away once, and takes no part in where the token goes then.
    for (const away of [0, 1, 2]) {
      const own = tokens.map((token) => `${token}-${away}`);
      await arrange([0, 1, 2].map((cell) => (cell === away ? 'dead' : 'well')));
      for (const token of own) assert.equal((await answered(0, token, 1)).status, 200);
      await arrange(['well', 'well', 'well']);
      for (const token of own) {
        assert.equal((await answered(1, token, 1)).status, 200);
        assert.equal(made(token), 1, token);
      }
      // The cell that took it is away in turn: nobody can tell, so nobody launches.
      for (const cell of cloud.cells) {
        const [token] = own.filter((one) => cell.instances.some(({ ClientToken }) => ClientToken === one));
        if (token === undefined) continue;
        await arrange(cloud.cells.map((one) => (one === cell ? 'dead' : 'well')));
        assert.equal((await attempt(1, token, 1)).status, 503);
      }
      await arrange(['well', 'well', 'well']);
      for (const token of own) assert.equal(made(token), 1, token);
    }
  });
});
