/** A region of the last landed release is upgraded in place with VMs, launches and a migration in flight, and goes back, and on again. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { codeDirectory } from '#node/directory.ts';
import { checkOut, isKnown, lastRelease } from '../support/formerRelease.ts';
import { runCli } from '../support/region.ts';
import { type Network, typeSmallest, type Vm } from './support/cloud.ts';
import { Guest } from './support/guest.ts';
import { processesOf } from './support/processes.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { Ping } from './support/traffic.ts';
import { until } from './support/until.ts';
import { vmmOf } from './support/vmm.ts';

const pingEveryMs = 100;

const workflowList = z.object({ cells: z.array(z.object({ workflows: z.array(z.unknown()) })) });

const known = await isKnown(lastRelease);

/** Of a launch whose answer says, or leaves open, that there is none. */
const unacknowledged = /\b(?:RunInstances|DescribeImages)\b/;

/** Does `work` again and again until `during` has ended, one after the other. */
async function repeatedly<T>(
  during: Promise<unknown>,
  work: () => Promise<T>,
): Promise<PromiseSettledResult<T>[]> {
  let lasts = true;
  const end = (): void => {
    lasts = false;
  };
  during.then(end, end);
  const results: PromiseSettledResult<T>[] = [];
  while (lasts) {
    results.push(...(await Promise.allSettled([work()])));
    await pause(100);
  }
  return results;
}

/** How many ended well, and how many times each other end was met. */
function told(results: readonly PromiseSettledResult<unknown>[]): string {
  const counts = new Map<string, number>();
  for (const each of results) {
    const end = each.status === 'fulfilled' ? 'done' : (String(each.reason).trim().split('\n').at(-1) ?? '');
    counts.set(end, (counts.get(end) ?? 0) + 1);
  }
  return [...counts].map(([end, count]) => `${count} × ${end.slice(-200)}`).join('; ');
}

describe('upgrade in place', {
  skip: !known && `there is no ${lastRelease} here`,
  timeout: 14 * 60_000,
}, () => {
  let tree: string;
  let region: TestRegion;
  let network: Network;
  let vms: Vm[];

  before(async () => {
    tree = await checkOut(lastRelease);
    region = await startRegion({ cells: 2, hostsPerCell: 2, tree });
    network = await region.cloud.network('10.61.0.0/16', '-1');
    const started = await Promise.all([1, 2, 3].map(() => region.cloud.start({ network })));
    vms = started.flat().map(({ vm }) => vm);
  });

  after(async () => {
    await region?.[Symbol.asyncDispose]();
    if (tree !== undefined) rmSync(tree, { recursive: true, force: true });
  });

  const upBy = (code: string): Promise<unknown> =>
    runCli(code, region.directory.root, ['up', '--no-first-vm']);

  /** What runs `up` must not hurt: VMs go on as the same processes, and no ping to one of them is lost. */
  async function unhurt(vmsThatStay: readonly Vm[], work: () => Promise<unknown>): Promise<void> {
    const pids = vmsThatStay.map((vm) => vmmOf(vm.instanceId).pid);
    await using ended = new AsyncDisposableStack();
    const pings = vmsThatStay.map((vm) => ended.use(new Ping(vm.publicIp, pingEveryMs)));
    await until('answers before it begins', () => pings.every((ping) => ping.answers > 2));
    await work();
    const results = await Promise.all(pings.map((ping) => ping.stop()));
    assert.deepEqual(
      results.map(({ lost }) => lost),
      results.map(() => []),
    );
    assert.deepEqual(
      vmsThatStay.map((vm) => vmmOf(vm.instanceId).pid),
      pids,
    );
  }

  /** PostgreSQL is of no tree: where both releases give it the same settings, it stays. */
  const maySurvive: ReadonlySet<string> = new Set(['postgres']);

  async function allReplaced(formerPids: ReadonlySet<number>): Promise<void> {
    const now = await processesOf(region.directory);
    assert.deepEqual(
      now.filter(({ kind, ready, pid }) => !ready || (formerPids.has(pid) && !maySurvive.has(kind))),
      [],
    );
  }

  const pidsNow = async (): Promise<Set<number>> =>
    new Set((await processesOf(region.directory)).map(({ pid }) => pid));

  /** Launched, running, terminated: once it is acknowledged, nothing may come between. */
  async function launchOne(): Promise<string> {
    const [id] = await region.cloud.launch({ network, type: typeSmallest });
    assert.ok(id);
    await region.cloud.reach('running', [id]);
    await until(`${id} to be terminated`, () => region.cloud.terminate([id]).then(() => true));
    return id;
  }

  it('from the last release, while VMs are launched, moved and terminated all the time', async (t) => {
    const [moved, ...stay] = vms;
    assert.ok(moved && stay.length > 0);
    const former = await pidsNow();
    await unhurt(stay, async () => {
      const rolled = upBy(codeDirectory);
      const [launches, moves] = await Promise.all([
        repeatedly(rolled, launchOne),
        // By the former command line, whose identity both releases understand.
        repeatedly(rolled, () => runCli(tree, region.directory.root, ['migrate', moved.instanceId])),
      ]);
      await rolled;
      t.diagnostic(`launches: ${told(launches)}; migrations: ${told(moves)}`);
      // One that nobody acknowledged (the router was away) may fail; one that was reaches its end.
      const failed = launches.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : []));
      assert.deepEqual(
        failed.filter((each) => !unacknowledged.test(each)),
        [],
      );
      assert.ok(launches.length - failed.length > 1, 'launches went on during the upgrade');
      assert.ok(moves.length > 1, 'migrations were asked for during the upgrade');
    });
    await allReplaced(former);
    await until('every workflow to have ended', async () => {
      const { cells } = workflowList.parse(JSON.parse(await region.pando('workflow', 'list', '--json')));
      return cells.every(({ workflows }) => workflows.length === 0);
    });
    // Moved, or back on its first host: in one place, and it answers.
    vmmOf(moved.instanceId);
    await new Guest(moved.publicIp, region.cloud.keyFile).answers();
    await region.pando('status');
  });

  it('a second time changes nothing', async () => {
    const before = await pidsNow();
    await upBy(codeDirectory);
    assert.deepEqual(await pidsNow(), before);
  });

  it('VMs of the last release move between hosts of this one', async () => {
    const [moved] = vms;
    assert.ok(moved);
    await using ping = new Ping(moved.publicIp, pingEveryMs);
    await region.pando('migrate', moved.instanceId);
    assert.deepEqual((await ping.stop()).lost, []);
  });

  it('and back: the VMs go on, and others are launched', async () => {
    await unhurt(vms, () => upBy(tree));
    const [fresh] = await region.cloud.start({ network });
    assert.ok(fresh);
    vms.push(fresh.vm);
  });

  it('and on again', async () => {
    const former = await pidsNow();
    await unhurt(vms, () => upBy(codeDirectory));
    await allReplaced(former);
    await region.cloud.terminate(vms.map(({ instanceId }) => instanceId));
  });
});
