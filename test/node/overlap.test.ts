/** A process that is replaced serves until its successor does: no connection is refused, whatever becomes of the successor. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { runDirectory } from '#node/directory.ts';
import type { NodeSpec } from '#node/processSpec.ts';
import { Supervisor } from '#node/supervisor.ts';
import { freePort } from '../support/freePort.ts';

const waitMsMax = 60_000;

const until = async (what: string, condition: () => boolean): Promise<void> => {
  const end = performance.now() + waitMsMax;
  while (!condition()) {
    assert.ok(performance.now() < end, `waited too long for: ${what}`);
    await delay(20);
  }
};

/** As a router: it answers its health, listens late when it takes over, and answers what it has begun when it is ended, also what is slow. */
const program = `
  import { readFileSync } from 'node:fs';
  import { createServer } from 'node:http';
  const { port, broken } = JSON.parse(readFileSync(process.argv[process.argv.indexOf('--config') + 1], 'utf8'));
  const body = JSON.stringify({ pid: process.pid, ready: !broken, region: true, cells: [{ cellId: 'a', live: true }] });
  const server = createServer(({ url }, response) =>
    url === '/slow' ? setTimeout(() => response.end(body), 2000) : response.end(body));
  if (broken) setInterval(() => {}, 1000);
  else setTimeout(() => server.listen({ port, host: '127.0.0.1', reusePort: true }),
    process.argv.includes('--takes-over') ? 500 : 0);
  process.on('SIGTERM', () => { server.close(() => process.exit(0)); if (broken) process.exit(0); });
`;

/** Connects again and again, each time anew; counts by the pid that answered, and by error. */
class Asker {
  readonly answers = new Map<number, number>();
  readonly errors = new Map<string, number>();
  #asking = true;
  readonly #done: Promise<unknown>;

  constructor(port: number) {
    this.#done = Promise.all([1, 2, 3].map(() => this.#ask(port)));
  }

  async #ask(port: number): Promise<void> {
    while (this.#asking) {
      await new Promise<void>((settled) => {
        const failed = (error: Error & { code?: string }): void => {
          const name = error.code ?? error.message;
          if (name !== 'ECONNRESET' || migrates()) this.errors.set(name, (this.errors.get(name) ?? 0) + 1);
          settled();
        };
        get({ host: '127.0.0.1', port, agent: false }, (response) => {
          let text = '';
          response.on('data', (chunk: Buffer) => {
            text += chunk;
          });
          response.on('error', failed);
          response.on('end', () => {
            const { pid } = JSON.parse(text) as { pid: number };
            this.answers.set(pid, (this.answers.get(pid) ?? 0) + 1);
            settled();
          });
        }).on('error', failed);
      });
      await delay(2);
    }
  }

  async stop(): Promise<void> {
    this.#asking = false;
    await this.#done;
  }
}

/**
 * Whether the kernel hands on connections that wait to be accepted: a region sets it, this machine's owner may not have. Regions of other
 * tests come and go meanwhile.
 */
const migrates = (): boolean => readFileSync('/proc/sys/net/ipv4/tcp_migrate_req', 'utf8').trim() === '1';

const bench = async (t: TestContext) => {
  const root = mkdtempSync(join(tmpdir(), 'pando-overlap-'));
  const directory = runDirectory(root);
  mkdirSync(directory.run, { recursive: true });
  const entry = join(root, 'program.mjs');
  writeFileSync(entry, program);
  const port = await freePort();
  const made: Supervisor[] = [];
  t.after(async () => {
    for (const supervisor of made) supervisor.release();
    await made.at(-1)?.stop();
    rmSync(root, { recursive: true, force: true });
  });
  const spec = (more: Partial<NodeSpec> & { broken?: boolean } = {}): NodeSpec => {
    const { broken = false, ...rest } = more;
    return {
      ...{ kind: 'node', name: 'one', after: [], entry, overlaps: true },
      ...{ configPath: directory.config('one'), config: { port, broken }, ready: { kind: 'router', port } },
      ...rest,
    };
  };
  const tls = { ca: '', cert: '', key: '' };
  return {
    port,
    roll: (more?: Parameters<typeof spec>[0]) =>
      writeFileSync(directory.processList, JSON.stringify({ tls, rolling: true, processes: [spec(more)] })),
    supervisor: () => {
      const supervisor = new Supervisor(directory, () => undefined);
      made.push(supervisor);
      return supervisor;
    },
  };
};

const healthOf = async (port: number): Promise<object> =>
  (await (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).json()) as object;
const ready = (supervisor: Supervisor): boolean =>
  supervisor.status.length > 0 && supervisor.status.every((each) => each.state === 'ready' && !each.outdated);
const pidOf = (supervisor: Supervisor): number => supervisor.status[0]?.pid ?? 0;
const isGone = (pid: number): boolean => {
  try {
    return /^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
};

const assertUnrefused = ({ errors }: Asker): void => {
  assert.deepEqual([...errors], []);
};

test('replaced by an upgrade, and started anew by an operator: nobody is refused, and the former one ends', async (t) => {
  const { roll, supervisor: make, port } = await bench(t);
  roll();
  const supervisor = make();
  await supervisor.load();
  await until('ready', () => ready(supervisor));
  const asker = new Asker(port);
  const pids = [pidOf(supervisor)];
  for (const replace of [
    async () => {
      roll({ code: 'new' });
      await supervisor.load();
    },
    () => supervisor.restart('one'),
  ]) {
    await replace();
    await until('the next one', () => ready(supervisor) && !pids.includes(pidOf(supervisor)));
    const former = pids.at(-1) ?? 0;
    await until('the former one to end', () => isGone(former));
    pids.push(pidOf(supervisor));
    const now = pidOf(supervisor);
    await until('answers of the next one', () => (asker.answers.get(now) ?? 0) > 20);
  }
  await asker.stop();
  assertUnrefused(asker);
});

test('replaced again while the former one still answers what it has begun: nobody is refused', async (t) => {
  const { roll, supervisor: make, port } = await bench(t);
  roll();
  const supervisor = make();
  await supervisor.load();
  await until('ready', () => ready(supervisor));
  const pids = [pidOf(supervisor)];
  const asker = new Asker(port);
  const slow = fetch(`http://127.0.0.1:${port}/slow`, { headers: { connection: 'close' } });
  await until('answers of the first', () => (asker.answers.get(pids[0] ?? 0) ?? 0) > 5);
  await supervisor.restart('one');
  await until('the next one', () => ready(supervisor) && !pids.includes(pidOf(supervisor)));
  pids.push(pidOf(supervisor));
  await supervisor.restart('one');
  await until('another one', () => ready(supervisor) && !pids.includes(pidOf(supervisor)));
  assert.deepEqual(await (await slow).json(), { ...(await healthOf(port)), pid: pids[0] });
  for (const pid of pids) await until(`${pid} to end`, () => isGone(pid));
  await asker.stop();
  assertUnrefused(asker);
});

test('a next one that does not become ready leaves the former serving, over the supervisor’s death too', async (t) => {
  const { roll, supervisor: make, port } = await bench(t);
  roll();
  const first = make();
  await first.load();
  await until('ready', () => ready(first));
  const serving = pidOf(first);
  const asker = new Asker(port);
  roll({ code: 'broken', broken: true });
  await first.load();
  await until('the next one', () => pidOf(first) !== serving && pidOf(first) !== 0);
  // It dies, and is started again: still beside the one that serves.
  const broken = pidOf(first);
  process.kill(broken, 'SIGKILL');
  await until('another one', () => ![serving, broken, 0].includes(pidOf(first)));
  first.release();
  const second = make();
  await second.load();
  const before = asker.answers.get(serving) ?? 0;
  await until('answers of the former one', () => (asker.answers.get(serving) ?? 0) > before + 20);
  assert.equal(isGone(serving), false);
  roll({ code: 'mended' });
  await second.load();
  await until('ready', () => ready(second));
  await until('the former one to end', () => isGone(serving));
  await asker.stop();
  assertUnrefused(asker);
  await second.stop();
  assert.ok(isGone(pidOf(second)));
});
