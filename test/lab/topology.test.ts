import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { exec } from '#base/exec.ts';
import { abandoned, claimIndex, claims, releaseIndex } from '#lab/claims.ts';
import { hostCardLink, type LabPlan, planLab } from '#lab/plan.ts';
import { ensureTopology, linksOf, namespacesOf, removeTopology, topologyLeft } from '#lab/topology.ts';
import { identify } from '#node/processIdentity.ts';

/** What a process leaves that is killed, the next run of the tests removes. */
const owner = identify(process.pid);

/** A plan of this test's own, removed after it. */
async function ownPlan(t: TestContext): Promise<LabPlan> {
  const directory = mkdtempSync(join(tmpdir(), 'pando-topology-'));
  const index = await claimIndex({ directory, owner });
  const plan = planLab({ index, cells: 1, hostsPerCell: 2 });
  t.after(async () => {
    await removeTopology(plan.prefix);
    releaseIndex(index, directory);
    rmSync(directory, { recursive: true, force: true });
  });
  return plan;
}

const ping = async (netns: string | undefined, address: string): Promise<boolean> => {
  const command = ['ping', '-c', '1', '-W', '2', address];
  const inside = netns === undefined ? command : ['ip', 'netns', 'exec', netns, ...command];
  const { exitCode } = await exec(inside[0] ?? '', inside.slice(1), { allow: [1, 2] });
  return exitCode === 0;
};

const silent = (): void => undefined;

test('the wiring connects what it should, and only that', async (t) => {
  const plan = await ownPlan(t);
  await ensureTopology(plan, silent);
  const [one, two] = plan.hosts;
  assert.ok(one && two);
  assert.ok(await ping(one.hostNetns, plan.management), 'a host reaches the machine');
  assert.ok(await ping(one.hostNetns, two.management), 'a host reaches another host');
  assert.ok(await ping(one.hostNetns, hostCardLink.card), 'a host reaches its card');
  assert.ok(await ping(one.cardNetns, two.vtep), 'a card reaches another card');
  assert.ok(await ping(one.cardNetns, plan.gatewayVtep), 'a card reaches the gateway');
  assert.ok(await ping(undefined, plan.gatewayUplink), 'the machine reaches the gateway');
  assert.ok(await ping(plan.gatewayNetns, plan.management), 'the gateway reaches the machine');
  assert.equal(await ping(one.hostNetns, two.vtep), false, 'a host does not reach the underlay');
});

test('bringing up what stands changes nothing, and mends what is missing', async (t) => {
  const plan = await ownPlan(t);
  await ensureTopology(plan, silent);
  const [one] = plan.hosts;
  assert.ok(one);
  // Without their state: a carrier comes a moment after the link.
  const indexes = async (netns: string): Promise<string[]> =>
    (await exec('ip', ['-n', netns, '-o', 'link', 'show'])).stdout.match(/^\d+: [^:]+/gm) ?? [];
  const before = await indexes(one.cardNetns);
  await ensureTopology(plan, silent);
  assert.deepEqual(await indexes(one.cardNetns), before);

  await exec('ip', ['-n', one.cardNetns, 'link', 'delete', 'ul0']);
  await exec('ip', ['link', 'delete', plan.managementLink]);
  await exec('ip', ['netns', 'delete', plan.gatewayNetns]);
  await ensureTopology(plan, silent);
  assert.ok(await ping(one.cardNetns, plan.gatewayVtep));
  assert.ok(await ping(one.hostNetns, plan.management));
  assert.ok(await ping(undefined, plan.gatewayUplink));
});

test('a namespace that has lost its name, while a process is in it, leaves nothing behind that is in the way', async (t) => {
  const plan = await ownPlan(t);
  await ensureTopology(plan, silent);
  const [one, two] = plan.hosts;
  assert.ok(one && two);
  const lost = [plan.gatewayNetns, one.cardNetns, two.hostNetns];
  const staying = lost.map((netns) =>
    spawn('ip', ['netns', 'exec', netns, 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] }),
  );
  try {
    // They answer from inside, so that they are there.
    await Promise.all(
      staying.map(async ({ stdin, stdout }) => {
        stdin.write('here\n');
        await once(stdout, 'data');
      }),
    );
    for (const netns of lost) await exec('ip', ['netns', 'delete', netns]);
    await ensureTopology(plan, silent);
    assert.ok(await ping(one.cardNetns, two.vtep));
    assert.ok(await ping(one.hostNetns, hostCardLink.card));
    assert.ok(await ping(two.hostNetns, hostCardLink.card));
    assert.ok(await ping(two.hostNetns, plan.management));
    assert.ok(await ping(one.cardNetns, plan.gatewayVtep));
    assert.ok(await ping(undefined, plan.gatewayUplink));
  } finally {
    for (const child of staying) child.kill('SIGKILL');
  }
});

test('links that an interrupted start left half done are done', async (t) => {
  const plan = await ownPlan(t);
  await ensureTopology(plan, silent);
  const [one, two] = plan.hosts;
  assert.ok(one && two);
  const damage: readonly (readonly string[])[] = [
    ['-n', plan.fabricNetns, 'link', 'set', 'br-ul', 'down'],
    ['-n', plan.fabricNetns, 'link', 'set', 'mgmt-root', 'nomaster'],
    ['-n', one.cardNetns, 'address', 'flush', 'dev', 'ul0'],
    ['-n', two.hostNetns, 'link', 'set', 'mgmt0', 'down'],
    ['-n', two.cardNetns, 'link', 'set', 'host0', 'down'],
    ['-n', plan.gatewayNetns, 'address', 'flush', 'dev', 'up0'],
    ['route', 'delete', plan.publicCidr, 'via', plan.gatewayUplink],
  ];
  // The last one is gone with the address before it on some kernels.
  for (const command of damage) await exec('ip', command, { allow: [2] });
  await ensureTopology(plan, silent);
  assert.ok(await ping(one.cardNetns, two.vtep));
  assert.ok(await ping(two.hostNetns, plan.management));
  assert.ok(await ping(two.hostNetns, hostCardLink.card));
  assert.ok(await ping(undefined, plan.gatewayUplink));
  assert.ok(await ping(plan.gatewayNetns, plan.management));
});

test('removal leaves nothing of this run and everything of another', async (t) => {
  const [plan, other] = [await ownPlan(t), await ownPlan(t)];
  await ensureTopology(plan, silent);
  await ensureTopology(other, silent);
  await removeTopology(plan.prefix);
  assert.deepEqual(await topologyLeft(plan.prefix), []);
  assert.ok((await namespacesOf(other.prefix)).length >= 6);
  assert.ok((await linksOf()).has(other.managementLink));
  await removeTopology(plan.prefix);
});

test('an index belongs to one directory until it is released', async () => {
  const [one, two] = [
    mkdtempSync(join(tmpdir(), 'pando-claim-')),
    mkdtempSync(join(tmpdir(), 'pando-claim-')),
  ];
  try {
    const first = await claimIndex({ directory: one, owner });
    const second = await claimIndex({ directory: two, owner });
    assert.notEqual(first, second);
    assert.notEqual(first, 0, 'the well-known index is given only to who asks for it');
    assert.equal(await claimIndex({ directory: one, owner }), first);
    releaseIndex(first, two);
    assert.equal(claims().get(first)?.directory, one, 'only its owner releases it');
    releaseIndex(first, one);
    releaseIndex(second, two);
  } finally {
    for (const path of [one, two]) rmSync(path, { recursive: true, force: true });
  }
});

test('an index whose run is gone is given to one of two that want it at one time', async () => {
  const directories = [0, 1, 2].map(() => mkdtempSync(join(tmpdir(), 'pando-claim-')));
  const [gone = '', ...both] = directories;
  try {
    const free = await claimIndex({ directory: gone });
    rmSync(gone, { recursive: true });
    const taken = await Promise.all(both.map((directory) => claimIndex({ directory, owner }, free)));
    const [one, other] = taken;
    assert.notEqual(one, other);
    for (const [at, index] of taken.entries()) {
      assert.equal(claims().get(index)?.directory, both[at]);
      releaseIndex(index, both[at] ?? '');
    }
  } finally {
    for (const path of directories) rmSync(path, { recursive: true, force: true });
  }
});

test('of a run in a container that shares /run the index stays, though its directory, or its owner, is not seen here', async () => {
  const [unseen, elsewhere, mine] = ['a', 'b', 'c'].map((name) => `/nowhere/${process.pid}/${name}`) as [
    string,
    string,
    string,
  ];
  const taken = await claimIndex({ directory: unseen, owner });
  const other = await claimIndex({ directory: mine, owner }, taken);
  assert.notEqual(other, taken);
  const gone = { pid: process.pid, startTime: '1', bootId: 'another' };
  const away = await claimIndex({ directory: elsewhere, owner: gone, pidNamespace: 'pid:[1]' });
  assert.ok(!abandoned().some(([index]) => index === away));
  releaseIndex(taken, unseen);
  releaseIndex(other, mine);
  releaseIndex(away, elsewhere);
});
