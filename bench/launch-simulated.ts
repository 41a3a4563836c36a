/**
 * Launches per second and CPU per launch of a cell with simulated hosts and a real PostgreSQL with fsync on. The CPU of this process
 * (cell, simulated hosts and region) and of PostgreSQL are both counted.
 *
 *   node bench/launch-simulated.ts [launches=500] [at once=32] [hosts=50]
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { openDatabase } from '#base/postgres/database.ts';
import { createCell } from '#cell/cell.ts';
import type { CellSchema } from '#cell/store/sql.ts';
import { startPostgres } from '#node/embedded-postgres.ts';
import { SimCaller } from '#simhost/caller.ts';
import { SimHost } from '#simhost/sim-host.ts';
import { SimWorld } from '#simhost/world.ts';
import { FakeRegion } from '../test/cell/support/fake-region.ts';

const [launches = 500, atOnce = 32, hostCount = 50] = process.argv.slice(2).map(Number);
const zone = 'bench-1a';
const ticksPerSecond = 100;

/** CPU seconds of a process and of all children that it has or had. */
const cpuOf = async (pid: number): Promise<number> => {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at] ?? 0), 0) / ticksPerSecond;
};

const ownCpuOf = async (pid: number): Promise<number> => {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / ticksPerSecond;
};

const childrenOf = async (pid: number): Promise<number[]> => {
  const tasks = await readdir(`/proc/${pid}/task`);
  const lists = await Promise.all(
    tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, 'utf8').catch(() => '')),
  );
  return lists.join(' ').split(' ').filter(Boolean).map(Number);
};

const postgresCpu = async (pid: number): Promise<number> => {
  const children = await childrenOf(pid);
  const live = await Promise.all(children.map((child) => ownCpuOf(child).catch(() => 0)));
  return (await cpuOf(pid)) + live.reduce((sum, each) => sum + each, 0);
};

const dir = await mkdtemp(join(tmpdir(), 'pando-bench-'));
const postgres = await startPostgres({
  dataDir: join(dir, 'data'),
  socketDir: join(dir, 's'),
  dieWithParent: true,
  settings: { fsync: 'on', synchronous_commit: 'on', shared_buffers: '64MB' },
});
try {
  const database = openDatabase<CellSchema>({ url: postgres.url, poolMax: 16 });
  const region = new FakeRegion({ zone });
  const cell = await createCell({
    identity: { cellId: 'bench', cellNumber: 1, processorId: 'p1', zone, region: 'bench-1' },
    limits: { hosts: 10_000, vms: 1_000_000 },
    oversubscription: { vcpus: 4, memory: 1 },
    database,
    region,
    log: pino({ level: 'silent' }),
  });
  const world = new SimWorld();
  for (let number = 1; number <= hostCount; number++) {
    const host = new SimHost({
      hostId: `h-${number}`,
      zone,
      vtep: `198.18.${number >> 8}.${number & 255}`,
      world,
      capacity: { vcpus: 64, memoryMib: 65_536, diskMib: 1_048_576 },
    });
    const caller = new SimCaller(host);
    await cell.reports.hello(host.hello(), caller);
  }
  const launchOne = async (): Promise<void> => {
    const input = { ImageId: region.imageId, InstanceType: 'p1.nano', MinCount: 1, MaxCount: 1 };
    await cell.ec2Call({
      requestId: 'r',
      accountId: '111122223333',
      principal: 'arn:bench',
      action: 'RunInstances',
      input,
    });
  };
  const runMany = async (count: number): Promise<void> => {
    let left = count;
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        while (left-- > 0) await launchOne();
      }),
    );
    await cell.engine.idle();
  };
  await runMany(50);
  const cpu = process.cpuUsage();
  const storeCpu = await postgresCpu(postgres.pid);
  const began = performance.now();
  await runMany(launches);
  const seconds = (performance.now() - began) / 1000;
  const used = process.cpuUsage(cpu);
  const cellCpu = (used.user + used.system) / 1e6;
  const storeUsed = (await postgresCpu(postgres.pid)) - storeCpu;
  const running = await database.executeQuery<{ n: number }>(
    (await import('kysely')).CompiledQuery.raw(
      "select count(*)::int as n from instances where state = 'running'",
    ),
  );
  console.log(
    JSON.stringify({
      launches,
      atOnce,
      hosts: hostCount,
      running: running.rows[0]?.n,
      seconds: Number(seconds.toFixed(2)),
      launchesPerSecond: Number((launches / seconds).toFixed(1)),
      cpuMsPerLaunch: {
        cell: Number(((cellCpu / launches) * 1000).toFixed(2)),
        postgresql: Number(((storeUsed / launches) * 1000).toFixed(2)),
        total: Number((((cellCpu + storeUsed) / launches) * 1000).toFixed(2)),
      },
      launchesPerSecondPerCore: Number((launches / (cellCpu + storeUsed)).toFixed(1)),
      violations: world.violations.length,
    }),
  );
  await cell.stop();
  await database.destroy();
} finally {
  await postgres.stop();
  await rm(dir, { recursive: true, force: true });
}
