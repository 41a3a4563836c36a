/**
 * What one account's worst inputs take from another: `node bench/neighbour.ts [SAMPLES [PART OF AN INPUT'S NAME]]`. Latency of a neighbour's DescribeInstances alone
 * and beside attackers who send one worst form after another without a pause. Compare the two of a pair: figures of two machines do not
 * compare.
 *
 * What is measured is the router, a process of its own on the first processor, and what it makes region and cell do. Everything else is
 * kept out of it:
 * - Clients are processes on the last processor, where region and cell (real, in this process) and the store are too. The attackers' own
 *   clients, which are machines of their own elsewhere, burn as much there as they get, and a scheduler makes who wakes up beside them wait
 *   for its next tick (4 ms). So they have the class that gives way to everybody at once (SCHED_IDLE), and what the others leave over.
 * - The two sides take turns in short rounds, so that a machine that gets slower meanwhile does so for both.
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
import { useScratch } from './support/scratch.ts';

interface Target {
  readonly port: number;
  readonly signed: Signed;
}
/** What a client is told to do: so many requests, or one after another until it is told to rest. */
interface Order extends Target {
  /** Its `user-agent`. */
  readonly name: string;
  readonly samples: number;
}
interface Timed {
  readonly times: number[];
  readonly statuses: Readonly<Record<string, number>>;
}

const samples = Number(process.argv[2] ?? 3_000) || 3_000;
const pattern = process.argv[3] ?? '';
const rounds = Math.min(12, Math.ceil(samples / 200));
const attackers = 2;
const endless = Number.MAX_SAFE_INTEGER;
const lastProcessor = os.availableParallelism() - 1;
const at = (times: readonly number[], share: number): number =>
  times.toSorted((a, b) => a - b)[Math.floor(times.length * share)] ?? 0;

if (process.argv[2] === 'client') client();
else await measure();

async function measure(): Promise<void> {
  useScratch();
  const cloud = await startRealCloud({ checkedHosts: false });
  const dir = await mkdtemp(path.join(os.tmpdir(), 'pando-neighbour-'));
  const costFile = path.join(dir, 'cost.json');
  process.env.NODE_OPTIONS = `--import=${new URL('support/requestCost.ts', import.meta.url).pathname}`;
  process.env.PANDO_REQUEST_COST = costFile;
  const router = await startRouterProcess(cloud.authority, cloud.regionPort, { regionName });
  delete process.env.NODE_OPTIONS;
  pin(router.pid, 0);
  pin(process.pid, lastProcessor);
  try {
    const [neighbour, mallory] = [await cloud.account(), await cloud.account()];
    const target = (form: string, { key }: typeof mallory): Target => ({
      port: router.port,
      signed: sign(router.port, form, { key, region: regionName }),
    });
    const small = { child: start(), ...target('Action=DescribeInstances&Version=2016-11-15', neighbour) };
    await ordered(small, { name: 'warm', samples: 1_000 });
    const attacking = Array.from({ length: attackers }, start);
    for (const { pid } of attacking) giveWay(pid ?? 0);
    console.log(`${'attack'.padEnd(46)} alone p50/p99 ms  beside p50/p99 ms  p99 ratio  attacks/s`);
    for (const [name, form] of Object.entries(worstForms)) {
      if (!name.includes(pattern)) continue;
      const attack = attacking.map((child) => ({ child, ...target(form, mallory) }));
      showRow(name, await inRounds(name, small, attack));
    }
    for (const child of [small.child, ...attacking]) child.disconnect();
    await router.stop();
    await showCosts(costFile);
  } finally {
    await router.stop();
    await cloud.close();
    await rm(dir, { recursive: true, force: true });
  }
}

interface Sides {
  readonly alone: number[];
  readonly beside: number[];
  readonly attacks: Timed[];
  readonly besideSeconds: number;
}

interface Client extends Target {
  readonly child: ChildProcess;
}

async function inRounds(name: string, small: Client, attack: readonly Client[]): Promise<Sides> {
  const sides = { alone: [] as number[], beside: [] as number[], attacks: [] as Timed[], besideSeconds: 0 };
  const share = Math.ceil(samples / rounds);
  for (let round = 0; round < rounds; round += 1) {
    sides.alone.push(...(await ordered(small, { name: `alone ${name}`, samples: share })).times);
    // Each says when it has had its first answer.
    await Promise.all(attack.map((one) => ordered(one, { name: 'attack', samples: endless })));
    const since = performance.now();
    sides.beside.push(...(await ordered(small, { name: `beside ${name}`, samples: share })).times);
    sides.besideSeconds += (performance.now() - since) / 1_000;
    sides.attacks.push(...(await Promise.all(attack.map(rested))));
  }
  return sides;
}

function showRow(name: string, { alone, beside, attacks, besideSeconds }: Sides): void {
  const statuses: Record<string, number> = {};
  for (const one of attacks)
    for (const [status, count] of Object.entries(one.statuses))
      statuses[status] = (statuses[status] ?? 0) + count;
  const rate = attacks.reduce((sum, { times }) => sum + times.length, 0) / besideSeconds;
  const pair = (times: readonly number[]) =>
    `${at(times, 0.5).toFixed(2).padStart(8)} ${at(times, 0.99).toFixed(2).padStart(8)}`;
  const ratio = at(beside, 0.99) / at(alone, 0.99);
  console.log(
    `${name.padEnd(46)} ${pair(alone)} ${pair(beside)} ${ratio.toFixed(2).padStart(8)} ${rate.toFixed(0).padStart(8)}  ${JSON.stringify(statuses)}`,
  );
}

/** What the router's event loop did while a request of the neighbour was in it. */
async function showCosts(file: string): Promise<void> {
  const costs: Record<string, number[]> = JSON.parse(await readFile(file, 'utf8'));
  console.log(
    `\n${'router busy ms while it is there'.padEnd(46)} alone p50/p99  beside p50/p99  ratio p50/p99`,
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

function giveWay(pid: number): void {
  execFileSync('chrt', ['-a', '-i', '-p', '0', String(pid)], { stdio: 'ignore' });
}

function pin(pid: number, processor: number): void {
  execFileSync('taskset', ['-a', '-c', '-p', String(processor), String(pid)], { stdio: 'ignore' });
}

function start(): ChildProcess {
  return fork(new URL(import.meta.url), ['client'], { serialization: 'advanced' });
}

async function ordered(
  { child, port, signed }: Client,
  what: Pick<Order, 'name' | 'samples'>,
): Promise<Timed> {
  const told = once(child, 'message');
  child.send({ port, signed, ...what } satisfies Order);
  const [result] = await told;
  return result;
}

async function rested({ child }: Client): Promise<Timed> {
  const told = once(child, 'message');
  child.send('rest');
  const [result] = await told;
  return result;
}

/** Sends one after another, as it is ordered. Of an order without end it says once that it goes, and when it rests what came back. */
function client(): void {
  let resting = false;
  process.on('message', (order: Order | 'rest') => {
    resting = order === 'rest';
    if (order !== 'rest') void carryOut(order, () => resting);
  });
  // An attacker does not outlive who measures.
  process.once('disconnect', () => process.exit());
}

async function carryOut(
  { port, signed, name, samples: count }: Order,
  resting: () => boolean,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  // Once, not for each request: an attacker's own cost is none of the router's.
  const sent = {
    ...signed,
    headers: { ...signed.headers, 'user-agent': name },
    body: Buffer.from(signed.body),
  };
  const times: number[] = [];
  const statuses: Record<string, number> = {};
  while (!resting() && times.length < count) {
    const begun = performance.now();
    const status = await send(port, sent, agent).catch(() => 'broke off');
    times.push(performance.now() - begun);
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (count === endless && times.length === 1) process.send?.('begun');
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
