/** Replicas share one port (S3.1, S3.5): one that is killed takes only what it was answering along, and any of them answers alike. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { createAuthority } from '#base/pki.ts';
import { codeOf, sendRaw, sign } from './cloud.ts';
import { FakeCell } from './fakeCell.ts';
import { accountId, FakeRegion } from './fakeRegion.ts';
import { type RouterProcess, startRouterProcess } from './routerProcess.ts';

const replicas = 3;
const clients = 6;
const answersEach = 40;
/** Patience alone: a process that has just begun to listen is ready when it has heard of all cells. */
const everyoneMsMax = 30_000;

/** One call on a connection of its own. */
interface Call {
  readonly begunMs: number;
  readonly endedMs: number;
  /** Status, or the error's code. */
  readonly end: string;
}

describe('router replicas on one port', { timeout: 120_000 }, () => {
  let region: FakeRegion;
  let start: (port: number) => Promise<RouterProcess>;
  const cells: FakeCell[] = [];
  const routers: RouterProcess[] = [];

  before(async () => {
    const authority = await createAuthority('Test authority');
    region = new FakeRegion(authority);
    for (const number of [1, 2, 3]) cells.push(new FakeCell(authority, number, 'lab-1a'));
    region.cells = () => cells.map(({ record }) => record);
    await Promise.all([region.start(), ...cells.map((cell) => cell.start())]);
    start = async (port) => {
      const limits = { cellsEveryMs: 100, repeatsWithinMs: 0 };
      const router = await startRouterProcess(authority, region.port, { listen: { port }, limits });
      routers.push(router);
      return router;
    };
    const { port } = await start(0);
    for (let more = 1; more < replicas; more++) await start(port);
    await everyoneAnswers();
  });
  after(async () => {
    await Promise.all(routers.map((router) => router.stop()));
    await Promise.all([region.kill(), ...cells.map((cell) => cell.kill())]);
  });

  const port = (): number => routers[0]?.port ?? 0;
  const alive = (): RouterProcess[] => routers.filter(({ child }) => child.signalCode === null);

  /** Who answers a connection of its own. */
  const pidThatAnswers = async (): Promise<number> => {
    const reply = await sendRaw(port(), { method: 'GET', path: '/_pando/health', headers: {}, body: '' });
    const health: { pid: number; ready: boolean } = JSON.parse(reply.body);
    return health.ready ? health.pid : 0;
  };
  const everyoneAnswers = async (): Promise<void> => {
    const wanted = new Set(alive().map(({ pid }) => pid));
    const seen = new Set<number>();
    const endMs = performance.now() + everyoneMsMax;
    while (seen.size < wanted.size && performance.now() < endMs) {
      const pid = await pidThatAnswers();
      if (wanted.has(pid)) seen.add(pid);
      else await pause(5);
    }
    assert.deepEqual(seen, wanted, 'each replica has a part of the connections');
  };
  const act = async (action: string, parameters: Readonly<Record<string, string>> = {}) => {
    const form = new URLSearchParams({ Action: action, Version: '2016-11-15', ...parameters }).toString();
    return sendRaw(port(), sign(port(), form));
  };

  it('kill -9 of one under load: only calls that were under way while it died are lost', async (t) => {
    cells[0]?.seed(accountId, 3);
    const calls: Call[] = [];
    let killedMs = Number.POSITIVE_INFINITY;
    const answered = (): number => calls.filter(({ begunMs }) => begunMs > killedMs).length;
    const client = async (): Promise<void> => {
      while (answered() < clients * answersEach) {
        const begunMs = performance.now();
        const end = await act('DescribeInstances').then(
          ({ status }) => String(status),
          (error: Error & { code?: string }) => error.code ?? error.message,
        );
        calls.push({ begunMs, endedMs: performance.now(), end });
      }
    };
    const load = Promise.all(Array.from({ length: clients }, client));
    while (calls.length < clients * answersEach) await pause(1);
    const [victim] = alive();
    assert.ok(victim);
    killedMs = performance.now();
    victim.child.kill('SIGKILL');
    // Its sockets go one after the other: whoever comes between still meets it.
    await once(victim.child, 'exit');
    const goneMs = performance.now();
    await load;

    const lost = calls.filter(({ end }) => end !== '200');
    for (const { begunMs, endedMs, end } of lost) {
      assert.match(end, /^(ECONNRESET|EPIPE)$/);
      assert.ok(begunMs <= goneMs && endedMs >= killedMs, 'it was under way while its router died');
    }
    t.diagnostic(`${lost.length} of ${calls.length} calls were lost`);
  });

  it('one that comes back has its part again', async () => {
    await start(port());
    assert.equal(alive().length, replicas);
    await everyoneAnswers();
  });

  it('any of them answers alike: one token is one launch, a list is one list, an error one error', async () => {
    const token = { ClientToken: 'one-launch', ImageId: 'ami-1', MinCount: '1', MaxCount: '1' };
    const ids = new Set<string>();
    const lists = new Set<string>();
    const errors = new Set<string | undefined>();
    const isId = /<instanceId>([^<]*)</g;
    const idsIn = (body: string): string[] => [...body.matchAll(isId)].map(([, id = '']) => id);
    const launches = Array.from({ length: clients * replicas }, () => act('RunInstances', token));
    for (const { body } of await Promise.all(launches)) for (const id of idsIn(body)) ids.add(id);
    for (let turn = 0; turn < clients * replicas; turn++) {
      lists.add(idsIn((await act('DescribeInstances')).body).join());
      errors.add(codeOf(await act('DescribeInstances', { 'InstanceId.1': 'i-00100000000000000' })));
    }
    assert.equal(ids.size, 1);
    assert.equal(lists.size, 1);
    assert.ok([...lists][0]?.includes([...ids][0] ?? '-'));
    assert.deepEqual([...errors], ['InvalidInstanceID.NotFound']);
  });
});
