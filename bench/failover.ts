/**
 * A cell whose store is a Patroni cluster of three (etcd, HAProxy; all started here, on loopback), launches on simulated hosts without a
 * pause, and `kill -9` of the leading server with all that belongs to it. Twice: through HAProxy, and by the list of addresses.
 *
 *   apt-get install --no-install-recommends patroni etcd-server haproxy postgresql
 *   node bench/failover.ts [clients=8] [seconds before the kill=8]
 *
 * Fails unless no acknowledged launch is lost, none is made twice, and service is back within 30 s of each kill.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { CompiledQuery, type Kysely } from 'kysely';
import { pino } from 'pino';
import { ensureDatabase } from '#base/postgres/create.ts';
import { openDatabase } from '#base/postgres/database.ts';
import { type Cell, createCell } from '#cell/cell.ts';
import type { CellSchema } from '#cell/store/sql.ts';
import { SimCaller } from '#simhost/caller.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { SimWorld } from '#simhost/world.ts';
import { FakeRegion } from '../test/cell/support/fake-region.ts';
import { Cluster, missingPackages } from './support/patroni.ts';

const [clients = 8, secondsBefore = 8] = process.argv.slice(2).map(Number);
const zone = 'bench-1a';
const hostCount = 20;
const backWithinMs = 30_000;
/** Time for both: whatever happens, the run ends. */
const roundTimeoutMs = 120_000;
const afterBackMs = 6_000;
const retryMs = 200;

interface Processor {
  readonly cell: Cell;
  readonly database: Kysely<CellSchema>;
  stop(): Promise<void>;
}

const startProcessor = async (
  url: string,
  number: number,
  region: FakeRegion,
  hosts: readonly SimHost[],
): Promise<Processor> => {
  const database = openDatabase<CellSchema>({ url });
  const cell = await createCell({
    identity: { cellId: 'bench', cellNumber: 1, processorId: `p${number}`, zone, region: 'bench-1' },
    limits: { hosts: 10_000, vms: 1_000_000 },
    oversubscription: { vcpus: 8, memory: 8 },
    database,
    region,
    log: pino({ level: process.env.PANDO_LOG ?? 'silent' }),
  });
  for (const host of hosts) await cell.reports.hello(host.hello(), new SimCaller(host));
  const timer = setInterval(() => {
    for (const host of hosts) cell.reports.report(host.report());
  }, 1_000);
  const stop = async (): Promise<void> => {
    clearInterval(timer);
    await cell.stop().catch(() => undefined);
    await database.destroy();
  };
  return { cell, database, stop };
};

interface Acknowledged {
  readonly token: string;
  readonly instanceId: string;
  readonly at: number;
}

/** Asks until it is acknowledged, with one token, as clients' libraries do: of either processor. */
const launchOne = async (
  processors: readonly Processor[],
  imageId: string,
  until: () => boolean,
): Promise<Acknowledged | undefined> => {
  const token = randomUUID();
  const input = { ImageId: imageId, InstanceType: 'p1.nano', MinCount: 1, MaxCount: 1, ClientToken: token };
  for (let turn = 0; ; turn++) {
    try {
      const request = {
        requestId: token,
        accountId: '111122223333',
        principal: 'arn:bench',
        action: 'RunInstances',
        input,
      };
      const { output } = await (processors[turn % processors.length] ?? raise()).cell.ec2Call(request);
      const { Instances } = output as { Instances: { InstanceId: string }[] };
      return { token, instanceId: Instances[0]?.InstanceId ?? '', at: performance.now() };
    } catch {
      if (until()) return undefined;
      await delay(retryMs);
    }
  }
};

const raise = (): never => {
  throw new Error('there is no processor');
};

const query = async <Row>(
  database: Kysely<CellSchema>,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> => (await database.executeQuery<Row>(CompiledQuery.raw(text, values))).rows;

const round = async (cluster: Cluster, way: string, serverUrl: string): Promise<boolean> => {
  const url = await ensureDatabase(serverUrl, `cell_${way}`);
  const world = new SimWorld();
  const region = new FakeRegion({ zone });
  const hosts = Array.from({ length: hostCount }, (_, n) => {
    const capacity = { vcpus: 64, memoryMib: 65_536, diskMib: 4_194_304 };
    return new SimHost({ hostId: `h-${n + 1}`, zone, vtep: `198.18.1.${n + 1}`, world, capacity });
  });
  const processors = [
    await startProcessor(url, 1, region, hosts),
    await startProcessor(url, 2, region, hosts),
  ];
  const acknowledged: Acknowledged[] = [];
  const deadline = performance.now() + roundTimeoutMs;
  let stopping = false;
  const over = (): boolean => performance.now() > deadline;
  const client = async (): Promise<void> => {
    while (!stopping && !over()) {
      const one = await launchOne(processors, region.imageId, over);
      if (one !== undefined) acknowledged.push(one);
    }
  };
  const running = Promise.all(Array.from({ length: clients }, client));
  await delay(secondsBefore * 1_000);
  const leader = (await cluster.leader()) ?? raise();
  const killedAt = performance.now();
  cluster.kill(leader);
  // An acknowledgement after this moment can come from the new leader alone.
  while (!over() && (await cluster.leader()) === undefined) await delay(50);
  const leads = performance.now();
  while (!over() && !acknowledged.some(({ at }) => at > leads)) await delay(20);
  const backMs = (acknowledged.find(({ at }) => at > leads)?.at ?? Number.POSITIVE_INFINITY) - killedAt;
  await delay(afterBackMs);
  stopping = true;
  await running;
  await Promise.all(processors.map(({ cell }) => cell.engine.idle()));
  const found = await settled(processors, acknowledged, over);
  for (const processor of processors) await processor.stop();
  const times = acknowledged.map(({ at }) => at).sort((a, b) => a - b);
  const gaps = times.slice(1).map((at, n) => at - (times[n] ?? at));
  const lost = acknowledged.filter(({ instanceId }) => found.states.get(instanceId) !== 'running').length;
  const figures = {
    way,
    acknowledged: acknowledged.length,
    lost,
    madeTwice: found.rows - acknowledged.length,
    newLeaderSeconds: seconds(leads - killedAt),
    backAfterSeconds: seconds(backMs),
    longestGapSeconds: seconds(Math.max(...gaps)),
    violations: world.violations.length,
  };
  console.log(JSON.stringify(figures));
  await cluster.revive(leader);
  return lost === 0 && figures.madeTwice === 0 && backMs < backWithinMs && world.violations.length === 0;
};

const seconds = (ms: number): number => Number((ms / 1_000).toFixed(2));

/** The instances as the store has them once all that were acknowledged run, or time is over. */
const settled = async (
  processors: readonly Processor[],
  acknowledged: readonly Acknowledged[],
  over: () => boolean,
) => {
  const { database } = processors[0] ?? raise();
  for (;;) {
    const rows = await query<{ id: string; state: string }>(database, 'select id, state from instances');
    const states = new Map(rows.map(({ id, state }) => [id, state]));
    if (over() || acknowledged.every(({ instanceId }) => states.get(instanceId) === 'running'))
      return { states, rows: rows.length };
    await delay(200);
  }
};

const missing = missingPackages();
if (missing !== undefined) {
  console.error(`This needs packages of Debian's that are not here: ${missing}`);
  process.exit(2);
}
const cluster = await Cluster.start();
try {
  const throughProxy = await round(cluster, 'haproxy', cluster.proxyUrl);
  const byList = await round(cluster, 'addresses', cluster.listUrl);
  process.exitCode = throughProxy && byList ? 0 : 1;
} finally {
  await cluster.stop();
}
