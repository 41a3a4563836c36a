/**
 * The longest silence that a peer sees when a VM moves, pinging every 2 ms: Pando's live migration (disk and memory, between
 * two hosts of a VPC) against QEMU's own (memory alone, shared disk, one bridge), of the same guest, by turns in one run:
 * `node bench/migration.ts`. Goal: at most 1.4 times as long. The silence at rest shows the machine's own noise.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { table } from '#cli/output.ts';
import { startRegion, type TestRegion } from '../test/e2e/support/region.ts';
import { Ping, type PingResult } from '../test/e2e/support/traffic.ts';
import { until } from '../test/e2e/support/until.ts';
import { vmmOf, vmmsOf } from '../test/e2e/support/vmm.ts';
import { median, runs, spread } from './support/figures.ts';
import { firstReply } from './support/firstReply.ts';
import { RawHost, type RawVm, type RawVmOptions, rawAddress } from './support/rawHost.ts';
import { cidr, imageDir, subjectOptions, subjectType } from './support/subject.ts';

const times = runs(5);
const intervalMs = 2;
/** How long pinging goes on before and after the move. */
const marginMs = 1_500;
const replyTimeoutMs = 120_000;
const migrationStatus = z.looseObject({ status: z.string().optional(), downtime: z.number().optional() });

/** Pings around `move`. */
async function during(address: string, move: () => Promise<void>): Promise<PingResult> {
  await using ping = new Ping(address, intervalMs);
  await until('pings to be answered', () => ping.answers > 100);
  await pause(marginMs);
  await move();
  await pause(marginMs);
  return ping.stop();
}

async function movePando(region: TestRegion, instanceId: string): Promise<void> {
  const from = vmmOf(instanceId).host;
  await region.pando('migrate', instanceId);
  await until('one copy elsewhere', () => {
    const [only, ...more] = vmmsOf(instanceId);
    return only !== undefined && more.length === 0 && only.host !== from;
  });
}

/** One guest by hand, which moves to and fro between two taps. */
class RawGuest {
  readonly #host: RawHost;
  readonly #options: RawVmOptions;
  readonly #diskDir: string;
  #vm: RawVm;
  readonly downtimesMs: number[] = [];

  constructor(host: RawHost, options: RawVmOptions, diskDir: string) {
    this.#host = host;
    this.#options = options;
    this.#diskDir = diskDir;
    this.#vm = host.start(options, diskDir, 'tap0');
  }

  async move(): Promise<void> {
    const tap = this.#vm.tap === 'tap0' ? 'tap1' : 'tap0';
    const dir = await this.#host.prepareDisk();
    const target = this.#host.start(this.#options, dir, tap, { diskDir: this.#diskDir });
    const [from, to] = await Promise.all([this.#vm.monitor(), target.monitor()]);
    const uri = `unix:${dir}/memory.sock`;
    await to.execute('migrate-incoming', { uri });
    await from.execute('migrate', { uri });
    await until('the copy', async () => {
      const { status, downtime } = await from.query(migrationStatus, 'query-migrate');
      if (status === 'failed') throw new Error('QEMU’s migration failed');
      if (status === 'completed') this.downtimesMs.push(downtime ?? 0);
      return status === 'completed';
    });
    from.close();
    to.close();
    await this.#vm.end();
    this.#vm = target;
  }

  end(): Promise<void> {
    return this.#vm.end();
  }
}

await using region = await startRegion();
await using host = await RawHost.start(imageDir);
const options = await subjectOptions();
const network = await region.cloud.network(cidr, '-1');
const [subject] = await region.cloud.start({ network, type: subjectType });
if (subject === undefined) throw new Error('no VM');
const { instanceId, publicIp } = subject.vm;

await host.prepareTap('tap0');
await host.prepareTap('tap1');
const guest = new RawGuest(host, options, await host.prepareDisk());
try {
  await firstReply(rawAddress, replyTimeoutMs);
  const rest = {
    ours: await during(publicIp, () => pause(marginMs)),
    raw: await during(rawAddress, () => pause(marginMs)),
  };
  const ours: PingResult[] = [];
  const raw: PingResult[] = [];
  for (let turn = 0; turn < times; turn++) {
    ours.push(await during(publicIp, () => movePando(region, instanceId)));
    raw.push(await during(rawAddress, () => guest.move()));
  }
  const gap = (results: readonly PingResult[]): number[] => results.map((each) => each.longestGapMs);
  const lost = (results: readonly PingResult[]): string =>
    String(results.reduce((sum, each) => sum + each.lost.length, 0));
  console.log(
    `${times} migrations each, ${options.accelerator}, ${options.memoryMib} MiB; median (least–most)\n`,
  );
  console.log(
    table([
      ['', 'Pando', 'raw QEMU'],
      ['longest silence at rest, ms', spread([rest.ours.longestGapMs]), spread([rest.raw.longestGapMs])],
      ['longest silence in a migration, ms', spread(gap(ours)), spread(gap(raw))],
      ['pings lost in all', lost(ours), lost(raw)],
      ['QEMU’s own downtime, ms', '', spread(guest.downtimesMs)],
      ['Pando ÷ raw QEMU (goal ≤ 1.4)', (median(gap(ours)) / median(gap(raw))).toFixed(2)],
    ]),
  );
} finally {
  await guest.end();
}
