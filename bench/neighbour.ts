/**
 * What one account's worst inputs take from another: `node bench/neighbour.ts [SAMPLES [PART OF AN INPUT'S NAME]]`. Latency of a neighbour's DescribeInstances alone
 * and beside an attacker who sends one worst form after another without a pause. The router is a process of its own on the first
 * processor; the clients are processes of their own on the last, the attacker niced so that the neighbour's own client is not what
 * waits. Region and cell are real and share this process. Compare the two rows of a pair: figures of two machines do not compare.
 */
import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { type Signed, sign } from '../test/router/cloud.ts';
import { regionName, startRealCloud } from '../test/router/realCloud.ts';
import { startRouterProcess } from '../test/router/routerProcess.ts';
import { worstForms } from '../test/router/worstForms.ts';

interface Job {
  readonly port: number;
  readonly signed: Signed;
  /** Requests to time; 0: until the process is ended. */
  readonly samples: number;
  /** Its `user-agent`. */
  readonly name: string;
}
interface Timed {
  readonly times: number[];
  readonly statuses: Readonly<Record<string, number>>;
}

const samples = Number(process.argv[2] ?? 1_000) || 1_000;
const pattern = process.argv[3] ?? '';
const attackers = 2;
const attackersNicer = 5;
const lastProcessor = os.availableParallelism() - 1;
const at = (times: readonly number[], share: number): number =>
  times.toSorted((a, b) => a - b)[Math.floor(times.length * share)] ?? 0;

if (process.argv[2] === 'client') process.once('message', (job: Job) => void client(job));
else await measure();

async function measure(): Promise<void> {
  const cloud = await startRealCloud({ checkedHosts: false });
  const dir = await mkdtemp(path.join(os.tmpdir(), 'pando-neighbour-'));
  const costFile = path.join(dir, 'cost.json');
  process.env.NODE_OPTIONS = `--import=${new URL('support/requestCost.ts', import.meta.url).pathname}`;
  process.env.PANDO_REQUEST_COST = costFile;
  const router = await startRouterProcess(cloud.authority, cloud.regionPort, { regionName });
  delete process.env.NODE_OPTIONS;
  execFileSync('taskset', ['-a', '-c', '-p', '0', String(router.pid)], { stdio: 'ignore' });
  execFileSync('taskset', ['-a', '-c', '-p', String(lastProcessor), String(process.pid)], {
    stdio: 'ignore',
  });
  try {
    const [neighbour, mallory] = [await cloud.account(), await cloud.account()];
    const signed = (form: string, key: typeof mallory.key): Signed =>
      sign(router.port, form, { key, region: regionName });
    const describes = signed('Action=DescribeInstances&Version=2016-11-15', neighbour.key);
    await timed({ port: router.port, signed: describes, samples, name: 'warm' });
    console.log(`${'attack'.padEnd(46)} alone p50/p99 ms  beside p50/p99 ms  p99 ratio  attacks/s`);
    for (const [name, form] of Object.entries(worstForms)) {
      if (!name.includes(pattern)) continue;
      const quiet = { port: router.port, signed: describes, samples, name: `alone ${name}` };
      const before = await timed(quiet);
      const attack = Array.from({ length: attackers }, () => start());
      for (const child of attack) {
        os.setPriority(child.pid ?? 0, Math.min(19, os.getPriority() + attackersNicer));
        child.send({
          port: router.port,
          signed: signed(form, mallory.key),
          samples: 0,
          name: 'attack',
        } satisfies Job);
        await once(child, 'message');
      }
      const begun = performance.now();
      const beside = await timed({ ...quiet, name: `beside ${name}` });
      const seconds = (performance.now() - begun) / 1_000;
      const told = await Promise.all(attack.map(end));
      const after = await timed(quiet);
      const alone = [...before.times, ...after.times];
      const statuses = told.map((one) => JSON.stringify(one.statuses)).join(' ');
      const rate = told.reduce((sum, { times }) => sum + times.length, 0) / seconds;
      const pair = (times: readonly number[]) =>
        `${at(times, 0.5).toFixed(2).padStart(8)} ${at(times, 0.99).toFixed(2).padStart(8)}`;
      const ratio = at(beside.times, 0.99) / at(alone, 0.99);
      console.log(
        `${name.padEnd(46)} ${pair(alone)} ${pair(beside.times)} ${ratio.toFixed(2).padStart(8)} ${rate.toFixed(0).padStart(8)}  ${statuses}`,
      );
    }
    await router.stop();
    await showCosts(costFile);
  } finally {
    await router.stop();
    await cloud.close();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Processor time of the router's event loop while a request of the neighbour was in it. */
async function showCosts(file: string): Promise<void> {
  const costs: Record<string, number[]> = JSON.parse(await readFile(file, 'utf8'));
  console.log(
    `\n${'router CPU ms while it is there'.padEnd(46)} alone p50/p99  beside p50/p99  ratio p50/p99`,
  );
  for (const name of Object.keys(worstForms)) {
    const [alone, beside] = [costs[`alone ${name}`], costs[`beside ${name}`]];
    if (alone === undefined || beside === undefined) continue;
    const shown = [alone, beside].flatMap((times) => [at(times, 0.5), at(times, 0.99)]);
    const [a50 = 1, a99 = 1, b50 = 0, b99 = 0] = shown;
    const cells = [...shown, b50 / a50, b99 / a99].map((ms) => ms.toFixed(2).padStart(7));
    console.log(`${name.padEnd(46)} ${cells.join(' ')}`);
  }
}

function start(): ChildProcess {
  return fork(new URL(import.meta.url), ['client'], { serialization: 'advanced' });
}

async function timed(job: Job): Promise<Timed> {
  const child = start();
  child.send(job);
  const [result] = await once(child, 'message');
  child.disconnect();
  return result;
}

async function end(child: ChildProcess): Promise<Timed> {
  const told = once(child, 'message');
  child.send('end');
  const [result] = await told;
  child.disconnect();
  return result;
}

/** Sends one after another. Without a number of samples it says once that it goes, and at its end what came back. */
async function client({ port, signed: plain, samples: count, name }: Job): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const signed = { ...plain, headers: { ...plain.headers, 'user-agent': name } };
  const times: number[] = [];
  const statuses: Record<string, number> = {};
  let over = false;
  process.once('message', () => {
    over = true;
  });
  // An attacker does not outlive who measures.
  process.once('disconnect', () => process.exit());
  while (!over && (count === 0 || times.length < count)) {
    const begun = performance.now();
    const status = await send(port, signed, agent).catch(() => 'broke off');
    times.push(performance.now() - begun);
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (count === 0 && times.length === 1) process.send?.('begun');
  }
  agent.destroy();
  process.send?.({ times, statuses });
}

function send(port: number, { method, path, headers, body }: Signed, agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, method, path, headers, agent }, (answer) => {
      answer.resume().once('end', () => resolve(String(answer.statusCode)));
    });
    sent.once('error', reject).end(body);
  });
}
