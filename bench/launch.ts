/**
 * From the RunInstances call to the VM's first HTTP reply, against QEMU started by hand with the same image and arguments,
 * by turns in one run: `node bench/launch.ts`. Goal: at most 1.15 times as long. The figures mean nothing across machines.
 *
 * In Pando's time and not in QEMU's: the API, the store, the root disk, the VPC, the jail, and learning the address by
 * DescribeInstances.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { table } from '#cli/output.ts';
import type { Network } from '../test/e2e/support/cloud.ts';
import { processesOf } from '../test/e2e/support/processes.ts';
import { startRegion, type TestRegion } from '../test/e2e/support/region.ts';
import { until } from '../test/e2e/support/until.ts';
import { median, runs, spread } from './support/figures.ts';
import { firstReply } from './support/firstReply.ts';
import { cpuSeconds } from './support/processCosts.ts';
import { RawHost, type RawVmOptions, rawAddress } from './support/rawHost.ts';
import { cidr, imageDir, subjectOptions, subjectType } from './support/subject.ts';

const replyTimeoutMs = 120_000;
const times = runs(10);
const restMs = 10_000;

interface Launch {
  readonly acceptedMs: number;
  readonly runningMs: number;
  readonly replyMs: number;
  readonly controlSeconds: number;
}

/** CPU seconds a second that the region uses with nothing to do. */
async function restRate({ directory }: TestRegion): Promise<number> {
  const pids = (await processesOf(directory)).map((each) => each.pid);
  const before = cpuSeconds(pids);
  await pause(restMs);
  return ((cpuSeconds(pids) - before) * 1_000) / restMs;
}

async function launchPando(region: TestRegion, network: Network, atRest = 0): Promise<Launch> {
  const { cloud, directory } = region;
  const pids = (await processesOf(directory)).map((each) => each.pid);
  const cpuBefore = cpuSeconds(pids);
  const begun = performance.now();
  const since = (): number => performance.now() - begun;
  const [instanceId = ''] = await cloud.launch({ network, type: subjectType });
  const acceptedMs = since();
  const address = await until('an address', async () => (await cloud.vm(instanceId)).publicIp || undefined);
  const reply = firstReply(address, replyTimeoutMs).then(since);
  await cloud.reach('running', [instanceId]);
  const runningMs = since();
  const replyMs = await reply;
  const controlSeconds = cpuSeconds(pids) - cpuBefore - (atRest * since()) / 1_000;
  await cloud.terminate([instanceId]);
  return { acceptedMs, runningMs, replyMs, controlSeconds };
}

async function launchRaw(host: RawHost, options: RawVmOptions): Promise<number> {
  const dir = await host.prepareDisk();
  await host.prepareTap('tap0');
  const begun = performance.now();
  const vm = host.start(options, dir, 'tap0');
  try {
    await firstReply(rawAddress, replyTimeoutMs);
    return performance.now() - begun;
  } finally {
    await vm.end();
    await host.removeTap('tap0');
  }
}

await using region = await startRegion();
await using host = await RawHost.start(imageDir);
const network = await region.cloud.network(cidr, '-1');
const options = await subjectOptions();
// The first of each fills caches.
await launchPando(region, network);
await launchRaw(host, options);

const atRest = await restRate(region);

const ours: Launch[] = [];
const raw: number[] = [];
for (let turn = 0; turn < times; turn++) {
  ours.push(await launchPando(region, network, atRest));
  raw.push(await launchRaw(host, options));
}

const replies = ours.map((each) => each.replyMs);
console.log(
  `${times} launches each, ${options.accelerator}, ${options.memoryMib} MiB; median (least–most)\n`,
);
console.log(
  table([
    ['Pando: RunInstances answered, ms', spread(ours.map((each) => each.acceptedMs))],
    ['Pando: instance running, ms', spread(ours.map((each) => each.runningMs))],
    ['Pando: first HTTP reply, ms', spread(replies)],
    ['raw QEMU: first HTTP reply, ms', spread(raw)],
    ['Pando ÷ raw QEMU (goal ≤ 1.15)', (median(replies) / median(raw)).toFixed(2)],
    ['CPU of all of Pando’s processes at rest, s a second', atRest.toFixed(3)],
    [
      'CPU of all of Pando’s processes beyond that, s per launch',
      spread(
        ours.map((each) => each.controlSeconds),
        2,
      ),
    ],
  ]),
);
