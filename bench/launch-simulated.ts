/**
 * Launches through all of Pando's own processes over simulated hosts: client → router → cell's processor → region → hosts, mutual TLS
 * between them, a PostgreSQL of each store with fsync on. With 1, 2 and 4 cells at work, by turns in one run; and what the router adds.
 *
 *   node bench/launch-simulated.ts [--launches 150] [--cells 4] [--hosts 20] [--processors 2] [--accounts 20] [--clients 12] [--warm 3] [--rate 10]
 *
 * `launches` and `clients` are of each cell that is at work. `warm`: rounds in all cells before the first that is measured: processes
 * compile what they run often while they run it, and each connection to a store plans each statement anew for its first few times. Cells
 * that are not at work rest beside them; what all processes use at rest is measured in between and taken off. `rate`: launches a second in
 * each cell, where the machine is not to be full. Hosts stand for machines and clients for customers: their CPU is shown, and in no sum.
 */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { CompiledQuery, type Kysely } from 'kysely';
import { openDatabase } from '#base/postgres/database.ts';
import type { CellSchema } from '#cell/store/sql.ts';
import { table } from '#cli/output.ts';
import { signedHeaders } from '#cli/sign.ts';
import { median, runs } from './support/figures.ts';
import { cpuSeconds } from './support/processCosts.ts';
import {
  type Account,
  regionName,
  type SimulatedCloud,
  startSimulatedCloud,
} from './support/simulatedCloud.ts';

const { values } = parseArgs({
  options: {
    launches: { type: 'string', default: '150' },
    cells: { type: 'string', default: '4' },
    hosts: { type: 'string', default: '20' },
    processors: { type: 'string', default: '2' },
    accounts: { type: 'string', default: '20' },
    clients: { type: 'string', default: '12' },
    warm: { type: 'string', default: '3' },
    rate: { type: 'string', default: '10' },
  },
});
const launches = Number(values.launches);
const clients = Number(values.clients);
const times = runs(3);
const restMs = 3_000;
const settleMs = 1_000;
const pollMs = 100;
const doneMsMax = 120_000;
const routerTurns = 500;
const idsPerCall = 50;
const version = '2016-11-15';

console.error('starting the processes');
const cloud = await startSimulatedCloud({
  cells: Number(values.cells),
  processorsPerCell: Number(values.processors),
  hostsPerCell: Number(values.hosts),
  accounts: Number(values.accounts),
});
const databases = cloud.stores.map((url) => openDatabase<CellSchema>({ url, poolMax: 1 }));
const agent = new Agent({ keepAlive: true });

interface Costs {
  readonly ms: number;
  /** CPU seconds by kind. */
  readonly cpu: Readonly<Record<string, number>>;
}

const costsNow = ({ pids }: SimulatedCloud): Costs => {
  const own = process.cpuUsage();
  const kinds = Object.entries(pids).map(([kind, of]) => [kind, cpuSeconds(of)] as const);
  const clientCpu = (own.user + own.system) / 1e6;
  return { ms: performance.now(), cpu: { ...Object.fromEntries(kinds), clients: clientCpu } };
};

const between = (before: Costs, after: Costs): Costs => ({
  ms: after.ms - before.ms,
  cpu: Object.fromEntries(
    Object.entries(after.cpu).map(([kind, seconds]) => [kind, seconds - (before.cpu[kind] ?? 0)]),
  ),
});

interface Signed {
  readonly action: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

const signed = (account: Account, action: string, parameters: Record<string, string>): Signed => {
  const body = new URLSearchParams({ Action: action, Version: version, ...parameters }).toString();
  const credentials = { accessKeyId: account.accessKeyId, secret: account.secretAccessKey };
  const target = { host: `127.0.0.1:${cloud.port}`, region: regionName, service: 'ec2' };
  return {
    ...{ action, body },
    headers: { host: target.host, ...signedHeaders(credentials, target, body, new Date()) },
  };
};

/** Sends an action to the router; answers the body, or fails with it. */
const sendSigned = ({ action, headers, body }: Signed): Promise<string> =>
  new Promise((resolve, reject) => {
    const sent = request(
      { host: '127.0.0.1', port: cloud.port, method: 'POST', path: '/', headers, agent },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('end', () => {
          const text = Buffer.concat(chunks).toString();
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`${action}: ${response.statusCode} ${text}`));
        });
      },
    );
    sent.once('error', reject);
    sent.end(body);
  });

const act = (account: Account, action: string, parameters: Record<string, string>): Promise<string> =>
  sendSigned(signed(account, action, parameters));

const accountAt = (at: number): Account => {
  const account = cloud.accounts[at % cloud.accounts.length];
  if (account === undefined) throw new Error('there is no account');
  return account;
};

const launchParameters = (cell: number): Record<string, string> => ({
  ImageId: cloud.imageId,
  InstanceType: 'p1.nano',
  MinCount: '1',
  MaxCount: '1',
  ClientToken: randomUUID(),
  'Placement.AvailabilityZone': cloud.zones[cell] ?? '',
});

/** How many instances of a cell are in a state. */
const countIn = async (database: Kysely<CellSchema>, where: string): Promise<number> => {
  const query = CompiledQuery.raw(`select count(*)::int as n from instances where ${where}`);
  return (await database.executeQuery<{ n: number }>(query)).rows[0]?.n ?? 0;
};

const until = async (what: string, condition: () => Promise<boolean>): Promise<void> => {
  const end = performance.now() + doneMsMax;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${doneMsMax} ms: ${what}`);
    await pause(pollMs);
  }
};

const ends: { account: Account; id: string }[] = [];
const noteEnd = (account: Account, id: string | undefined): void => {
  if (id !== undefined) ends.push({ account, id });
};

/**
 * Launches `count` in each of the first `cells` cells, and waits until all of them run: one after another by each client, or, where a
 * rate is given, each at its time, so many a second in each cell.
 */
const launchIn = async (
  cells: number,
  count: number,
  perSecond = Number.POSITIVE_INFINITY,
): Promise<number[]> => {
  const latencies: number[] = [];
  const start = performance.now();
  const client = async (cell: number, turns: { left: number }): Promise<void> => {
    while (turns.left-- > 0) {
      const account = accountAt(turns.left);
      const due = start + ((count - turns.left) * 1000) / perSecond;
      if (due > performance.now()) await pause(due - performance.now());
      const began = performance.now();
      const body = await act(account, 'RunInstances', launchParameters(cell));
      latencies.push(performance.now() - began);
      noteEnd(account, /<instanceId>([^<]+)</.exec(body)?.[1]);
    }
  };
  const groups = Array.from({ length: cells }, (_, cell) => {
    const turns = { left: count };
    return Array.from({ length: clients }, () => client(cell, turns));
  });
  await Promise.all(groups.flat());
  const asked = databases.slice(0, cells);
  await until('all run', async () => {
    const pending = await Promise.all(asked.map((each) => countIn(each, "state = 'pending'")));
    return pending.every((each) => each === 0);
  });
  const running = await Promise.all(asked.map((each) => countIn(each, "state = 'running'")));
  if (running.some((each) => each !== count)) throw new Error(`running: ${running.join()}, not ${count}`);
  return latencies;
};

/** Ends all that was launched, which is in no figure. */
const clear = async (): Promise<void> => {
  const byAccount = Map.groupBy(ends.splice(0), ({ account }) => account);
  for (const [account, all] of byAccount)
    for (let from = 0; from < all.length; from += idsPerCall) {
      const ids = all
        .slice(from, from + idsPerCall)
        .map(({ id }, at) => [`InstanceId.${at + 1}`, id] as const);
      await act(account, 'TerminateInstances', Object.fromEntries(ids));
    }
  await until('all are gone', async () => {
    const left = await Promise.all(databases.map((each) => countIn(each, "state <> 'terminated'")));
    return left.every((each) => each === 0);
  });
  await pause(settleMs);
};

interface Round {
  readonly launched: number;
  readonly costs: Costs;
  readonly latencyMs: number;
}

const round = async (cells: number, count: number, perSecond?: number): Promise<Round> => {
  const before = costsNow(cloud);
  const latencies = await launchIn(cells, count, perSecond);
  const costs = between(before, costsNow(cloud));
  await clear();
  return { launched: cells * count, costs, latencyMs: median(latencies) };
};

interface Added {
  /** Median milliseconds, as a client sees it. */
  readonly through: number;
  readonly direct: number;
  /** As straight, with a process in between that only passes bytes on. */
  readonly relayed: number;
  /** CPU of the router, milliseconds a request. */
  readonly cpuMs: number;
}

/** To a processor of the first cell, by one of these links in turn; what it answers. */
const sendBy = async (
  links: SimulatedCloud['direct'],
  turn: number,
  action: string,
  input: object,
): Promise<unknown> => {
  const { accountId } = accountAt(0);
  const link = links[turn % links.length] ?? raise();
  const principal = `arn:aws:iam::${accountId}:root`;
  const call = { requestId: randomUUID(), accountId, principal, action, input };
  return (await link.call('ec2.call', call)).output;
};

/**
 * The same request through the router, straight, and through a relay, one at a time, and in another order each turn: what a process does
 * after its answer meets the next request. What a client does before it sends is in none.
 */
const byTurns = async (
  action: string,
  parameters: () => Record<string, string>,
  input: () => object,
  answered: (answer: string | undefined, output?: unknown) => void = () => undefined,
): Promise<Added> => {
  const router = cloud.pids.router ?? [];
  let cpu = 0;
  const through = async (): Promise<number> => {
    const cpuBefore = cpuSeconds(router);
    const asked = signed(accountAt(0), action, parameters());
    const began = performance.now();
    const answer = await sendSigned(asked);
    const ms = performance.now() - began;
    cpu += cpuSeconds(router) - cpuBefore;
    answered(answer);
    return ms;
  };
  const by = (links: SimulatedCloud['direct']) => async (turn: number) => {
    const began = performance.now();
    const output = await sendBy(links, turn, action, input());
    const ms = performance.now() - began;
    answered(undefined, output);
    return ms;
  };
  const ways = [through, by(cloud.direct), by(cloud.relayed)];
  const times: number[][] = ways.map(() => []);
  for (let turn = 0; turn < routerTurns; turn++)
    for (const at of ways.keys()) {
      const now = (turn + at) % ways.length;
      times[now]?.push((await ways[now]?.(turn)) ?? Number.NaN);
    }
  const [throughMs = 0, direct = 0, relayed = 0] = times.map(median);
  return { through: throughMs, direct, relayed, cpuMs: (cpu / routerTurns) * 1000 };
};

/** What the router adds to a launch, and to a question for one of the launched instances. */
const routerAdds = async (): Promise<Record<string, Added>> => {
  const ids: string[] = [];
  const input = (): object => ({
    ...{ ImageId: cloud.imageId, InstanceType: 'p1.nano', MinCount: 1, MaxCount: 1 },
    ...{ ClientToken: randomUUID(), Placement: { AvailabilityZone: cloud.zones[0] } },
  });
  const launched = (answer: string | undefined, output?: unknown): void => {
    const made = output as { Instances: { InstanceId: string }[] } | undefined;
    const id = made?.Instances[0]?.InstanceId ?? /<instanceId>([^<]+)</.exec(answer ?? '')?.[1];
    noteEnd(accountAt(0), id);
    ids.push(...(id === undefined ? [] : [id]));
  };
  const RunInstances = await byTurns('RunInstances', () => launchParameters(0), input, launched);
  await until('all run', async () => (await countIn(databases[0] ?? raise(), "state = 'pending'")) === 0);
  const [id = raise()] = ids;
  const DescribeInstances = await byTurns(
    'DescribeInstances',
    () => ({ 'InstanceId.1': id }),
    () => ({ InstanceIds: [id] }),
  );
  await clear();
  return { RunInstances, DescribeInstances };
};

const raise = (): never => {
  throw new Error('there is no cell');
};

const atRest = async (): Promise<Costs> => {
  const before = costsNow(cloud);
  await pause(restMs);
  return between(before, costsNow(cloud));
};

const progress = (line: string): void => console.error(`${(performance.now() / 1000).toFixed(0)} s: ${line}`);
const beside = new Set(['hosts', 'clients']);
const shown = (value: number, digits = 1): string => value.toFixed(digits);

interface Figures {
  readonly cells: number;
  readonly perSecond: number;
  readonly latencyMs: number;
  /** CPU milliseconds a launch by kind, less what is used at rest. */
  readonly cpuMs: Readonly<Record<string, number>>;
  readonly totalMs: number;
  readonly withRestMs: number;
}

const figures = (cells: number, rounds: readonly Round[], rest: Costs): Figures => {
  const launched = rounds.reduce((sum, each) => sum + each.launched, 0);
  const ms = rounds.reduce((sum, each) => sum + each.costs.ms, 0);
  const cpuOf = (kind: string): number =>
    rounds.reduce((sum, each) => sum + (each.costs.cpu[kind] ?? 0), 0) * 1000;
  const kinds = Object.keys(rest.cpu);
  const restOf = (kind: string): number => ((rest.cpu[kind] ?? 0) / rest.ms) * 1000 * ms;
  const cpuMs = Object.fromEntries(
    kinds.map((kind) => [
      kind,
      Math.max(0, cpuOf(kind) - (kind === 'clients' ? 0 : restOf(kind))) / launched,
    ]),
  );
  const ours = kinds.filter((kind) => !beside.has(kind));
  return {
    ...{ cells, cpuMs, perSecond: (launched / ms) * 1000, latencyMs: median(rounds.map((r) => r.latencyMs)) },
    totalMs: ours.reduce((sum, kind) => sum + (cpuMs[kind] ?? 0), 0),
    withRestMs: ours.reduce((sum, kind) => sum + cpuOf(kind), 0) / launched,
  };
};

const tell = (all: readonly Figures[], rest: Costs): void => {
  const kinds = Object.keys(rest.cpu);
  const row = (name: string, of: (each: Figures) => number, digits = 1): string[] => [
    name,
    ...all.map((each) => shown(of(each), digits)),
  ];
  const ofCells = ({ cpuMs }: Figures): number => (cpuMs.processors ?? 0) + (cpuMs['cells, PostgreSQL'] ?? 0);
  const first = all[0]?.totalMs ?? Number.NaN;
  console.log(
    table([
      ['cells at work', ...all.map(({ cells }) => String(cells))],
      row('launches/s', (each) => each.perSecond),
      row('RunInstances, ms, median', (each) => each.latencyMs),
      ...kinds.map((kind) => row(`CPU ms: ${kind}`, (each) => each.cpuMs[kind] ?? 0, 2)),
      row('CPU ms a launch, all of Pando', (each) => each.totalMs, 2),
      row('the same with what is used at rest', (each) => each.withRestMs, 2),
      row('launches/s a core, all of Pando', (each) => 1000 / each.totalMs),
      row('launches/s a core, a cell alone', (each) => 1000 / ofCells(each)),
      row('linear: CPU a launch with 1 ÷ with these', (each) => first / each.totalMs, 2),
    ]),
  );
  const ours = kinds.filter((kind) => !beside.has(kind));
  const restCpu = ours.reduce((sum, kind) => sum + (rest.cpu[kind] ?? 0), 0);
  console.log(`\nat rest: ${shown((restCpu / rest.ms) * 1e6)} ms CPU a second, ${values.cells} cells`);
};

try {
  const sizes = [1, 2, 4].filter((cells) => cells <= cloud.zones.length);
  const largest = cloud.zones.length;
  for (let turn = 1; turn <= Number(values.warm); turn++) {
    progress(`warming up, ${turn} of ${values.warm}`);
    await round(largest, launches);
  }
  const rests: Costs[] = [];
  const rounds = new Map<number, Round[]>(sizes.map((cells) => [cells, []]));
  const evenly = new Map<number, Round[]>(sizes.map((cells) => [cells, []]));
  for (let turn = 0; turn < times; turn++)
    for (const cells of sizes) {
      progress(`${cells} cells, ${turn + 1} of ${times}`);
      rests.push(await atRest());
      const done = await round(cells, launches);
      rounds.get(cells)?.push(done);
      const { totalMs, perSecond } = figures(cells, [done], rests.at(-1) ?? done.costs);
      progress(`${shown(totalMs, 2)} ms CPU a launch, ${shown(perSecond)}/s`);
      evenly.get(cells)?.push(await round(cells, launches, Number(values.rate)));
    }
  const rest: Costs = {
    ms: rests.reduce((sum, each) => sum + each.ms, 0),
    cpu: Object.fromEntries(
      Object.keys(rests[0]?.cpu ?? {}).map((kind) => [
        kind,
        rests.reduce((sum, each) => sum + (each.cpu[kind] ?? 0), 0),
      ]),
    ),
  };
  const told = (of: ReadonlyMap<number, Round[]>): Figures[] =>
    sizes.map((cells) => figures(cells, of.get(cells) ?? [], rest));
  console.log('As fast as the machine goes, which one cell alone fills:\n');
  tell(told(rounds), rest);
  console.log(`\nAt ${values.rate} launches a second in each cell, which the machine has room for:\n`);
  tell(told(evenly), rest);
  for (const [action, { through, direct, relayed, cpuMs }] of Object.entries(await routerAdds()))
    console.log(
      `${action}: the router adds ${shown(through - direct, 2)} ms at the median (${shown(through, 2)} through it, ${shown(direct, 2)} straight), ${shown(cpuMs, 2)} ms CPU a request; a process that only passes bytes on adds ${shown(relayed - direct, 2)} ms`,
    );
  const violations = await cloud.violations();
  if (violations.length > 0) throw new Error(`hosts saw ${JSON.stringify(violations.slice(0, 3))}`);
} finally {
  agent.destroy();
  await Promise.all(databases.map((each) => each.destroy()));
  await cloud.end();
}
