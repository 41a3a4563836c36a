/**
 * What a launch costs in CPU, by kind of process, of this tree and of a former commit, by turns in one run:
 * `node bench/launch-cpu.ts [COMMIT]`. From RunInstances to the guest's first HTTP reply, less what the region uses at rest. A VMM and
 * its guest are not Pando's and not in the sum; what the jail's tools use on the way to it is shown beside it.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { table } from '#cli/output.ts';
import type { Network } from '../test/e2e/support/cloud.ts';
import { processesOf } from '../test/e2e/support/processes.ts';
import { startRegion, type TestRegion } from '../test/e2e/support/region.ts';
import { until } from '../test/e2e/support/until.ts';
import { checkOut, lastRelease } from '../test/support/formerRelease.ts';
import { median, runs } from './support/figures.ts';
import { firstReply } from './support/firstReply.ts';
import { cpuByKind, type KindCosts } from './support/kindCosts.ts';
import { cidr, subjectType } from './support/subject.ts';

const replyTimeoutMs = 120_000;
/** Without another side, whose turn would be this one's rest. */
const restMs = 8_000;
/** What a launch leaves to be done after the reply: reports, records. */
const settleMs = 1_500;
const times = runs(12);

interface Side {
  readonly name: string;
  readonly region: TestRegion;
  readonly network: Network;
  readonly launches: Measured[];
  readonly rests: KindCosts[];
  readonly vmm: number[];
  atRest: (() => Promise<Measured>) | undefined;
}

const costs = async ({ directory }: TestRegion): Promise<KindCosts> =>
  cpuByKind(await processesOf(directory));

const less = (after: KindCosts, before: KindCosts, times = 1): KindCosts =>
  Object.fromEntries(Object.entries(after).map(([kind, ms]) => [kind, ms - times * (before[kind] ?? 0)]));

interface Measured {
  readonly costs: KindCosts;
  readonly ms: number;
}

/** Begins to measure; the answer ends it. */
async function begin(region: TestRegion): Promise<() => Promise<Measured>> {
  const before = await costs(region);
  const began = performance.now();
  return async () => ({ ms: performance.now() - began, costs: less(await costs(region), before) });
}

async function measured(region: TestRegion, work: () => Promise<void>): Promise<Measured> {
  const end = await begin(region);
  await work();
  return end();
}

/** CPU milliseconds a millisecond. */
const rateOf = ({ costs, ms }: { costs: KindCosts; ms: number }): KindCosts =>
  Object.fromEntries(Object.entries(costs).map(([kind, used]) => [kind, used / ms]));

/** One launch and its end; then nothing happens in this region until it is its turn again. */
async function launch(side: Side): Promise<void> {
  const { region, network } = side;
  const { cloud } = region;
  // What the region uses at rest is measured while the other side has its turn: under the same load of the machine, and as warm.
  if (side.atRest !== undefined) side.rests.push(rateOf(await side.atRest()));
  let id = '';
  side.launches.push(
    await measured(region, async () => {
      [id = ''] = await cloud.launch({ network, type: subjectType });
      const address = await until('an address', async () => (await cloud.vm(id)).publicIp || undefined);
      await firstReply(address, replyTimeoutMs);
      await pause(settleMs);
    }),
  );
  side.vmm.push(jailCostMs(id));
  await cloud.terminate([id]);
  await pause(settleMs);
  side.atRest = await begin(region);
}

/** What the children of the process that became this instance's VMM used: the tools of its jail. */
function jailCostMs(instanceId: string): number {
  for (const pid of pidsOf(instanceId)) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[13]) + Number(fields[14])) * 10;
  }
  return Number.NaN;
}

const pidsOf = (instanceId: string): string[] =>
  readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      return line.includes('qemu') && line.includes(instanceId);
    } catch {
      return false;
    }
  });

async function side(name: string, region: TestRegion): Promise<Side> {
  const network = await region.cloud.network(cidr, '-1');
  return { name, region, network, launches: [], rests: [], vmm: [], atRest: undefined };
}

const tree = process.argv[2] === 'alone' ? undefined : await checkOut(process.argv[2] ?? lastRelease);
const size = { cells: 1, hostsPerCell: 2 };
await using ours = await startRegion(size);
await using former = tree === undefined ? undefined : await startRegion({ ...size, tree });
const sides = [
  ...(former === undefined ? [] : [await side(process.argv[2] ?? lastRelease, former)]),
  await side('this tree', ours),
];
// The first ones fill caches, and are compiled; two on each host.
for (let warm = 0; warm < 4; warm++) for (const each of sides) await launch(each);
for (const each of sides) for (const list of [each.launches, each.rests, each.vmm]) list.length = 0;
for (let turn = 0; turn < times; turn++)
  for (const each of sides) {
    if (sides.length === 1) await pause(restMs);
    await launch(each);
  }

const mean = (values: readonly number[]): number =>
  values.reduce((sum, each) => sum + each, 0) / values.length;
const total = (costs: KindCosts): number => Object.values(costs).reduce((sum, each) => sum + each, 0);
const shown = (value: number): string => value.toFixed(1);
const kinds = [...new Set(sides.flatMap(({ rests }) => rests.flatMap((each) => Object.keys(each))))].sort();
const restOf = ({ rests }: Side): KindCosts =>
  Object.fromEntries(kinds.map((kind) => [kind, mean(rests.map((each) => each[kind] ?? 0))]));
/** Each launch, less what the region uses at rest in that time. */
const beyondRest = (side: Side): KindCosts[] =>
  side.launches.map(({ costs, ms }) => less(costs, restOf(side), ms));
console.log(`${times} launches each; CPU ms a launch, mean by kind\n`);
console.log(
  table([
    ['', ...sides.map(({ name }) => name)],
    ...kinds.map((kind) => [
      kind,
      ...sides.map((each) => shown(mean(beyondRest(each).map((costs) => costs[kind] ?? 0)))),
    ]),
    ['all, mean', ...sides.map((each) => shown(mean(beyondRest(each).map(total))))],
    ['all, median', ...sides.map((each) => shown(median(beyondRest(each).map(total))))],
    ['at rest, ms a second', ...sides.map((each) => shown(1000 * total(restOf(each))))],
    ['(not in it) tools of the jail', ...sides.map(({ vmm }) => shown(mean(vmm)))],
  ]),
);
if (sides.length === 2) {
  const [before = Number.NaN, now = Number.NaN] = sides.map((each) => median(beyondRest(each).map(total)));
  console.log(`\nthis tree ÷ ${sides[0]?.name}: ${(now / before).toFixed(2)} (median of all)`);
}
if (tree !== undefined) rmSync(tree, { recursive: true, force: true });
