/** The list of a run's processes: replicas. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { planLab, routersMax } from '#lab/plan.ts';
import { planProcesses } from '#lab/processes.ts';
import type { RunRecord } from '#lab/runRecord.ts';
import { runDirectory } from '#node/directory.ts';
import { PkiFiles } from '#node/pkiFiles.ts';
import { type NodeSpec, startOrder } from '#node/processSpec.ts';

const record: RunRecord = {
  ...{ format: 1, index: 0, cells: 1, hostsPerCell: 1 },
  ...{ port: 4_566, regionName: 'lab-1' },
};

const listOf = async (t: TestContext, more: Partial<RunRecord>): Promise<NodeSpec[]> => {
  const root = mkdtempSync(join(tmpdir(), 'pando-plan-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const directory = runDirectory(root);
  mkdirSync(dirname(directory.webhooksKey), { recursive: true });
  writeFileSync(directory.webhooksKey, 'k'.repeat(64));
  const run = { ...record, ...more };
  const pki = await PkiFiles.open(directory.pki, 'test');
  const { processes } = await planProcesses({ directory, plan: planLab(run), run, pki });
  return startOrder(processes).filter((spec) => spec.kind === 'node');
};
const routersIn = (specs: readonly NodeSpec[]): NodeSpec[] =>
  specs.filter(({ entry }) => entry.endsWith('router/main.ts'));

test('a record without replicas has one router, under the name that it always had', async (t) => {
  assert.deepEqual(
    routersIn(await listOf(t, {})).map(({ name }) => name),
    ['router'],
  );
});

test('router replicas share port and user, and nothing else', async (t) => {
  const routers = routersIn(await listOf(t, { routers: routersMax }));
  assert.equal(routers.length, routersMax);
  assert.equal(new Set(routers.map(({ user }) => JSON.stringify(user))).size, 1, 'the kernel asks for that');
  assert.equal(new Set(routers.map(({ ready }) => JSON.stringify(ready))).size, 1);
  for (const own of ['name', 'configPath'] as const)
    assert.equal(new Set(routers.map((each) => each[own])).size, routersMax, own);
  const owned = routers.flatMap(({ owns = [] }) => owns);
  assert.equal(new Set(owned).size, owned.length, 'each writes an audit log of its own');
});

test('region replicas: everybody who needs the region is told of all of them, each with its own port and certificate', async (t) => {
  const one = await listOf(t, {});
  for (const { name, config } of one)
    assert.ok(!JSON.stringify(config).includes('regionReplicas'), `${name}: as it always was`);
  const specs = await listOf(t, { regions: 3 });
  const regions = specs.filter(({ entry }) => entry.endsWith('region/main.ts'));
  assert.deepEqual(regions.map(({ name }) => name).sort(), ['region', 'region-2', 'region-3']);
  assert.equal(new Set(regions.map(({ ready }) => JSON.stringify(ready))).size, 3);
  const told = z.object({
    region: z.object({ port: z.number() }),
    regionReplicas: z.array(z.object({ port: z.number() })),
  });
  const clients = specs.filter(({ entry }) => /\/(router|cell|gateway|agent)\/main\.ts$/.test(entry));
  assert.equal(clients.length, 5);
  for (const { name, config } of clients) {
    const { region, regionReplicas } = told.parse(config);
    const ports = [region, ...regionReplicas].map(({ port }) => port);
    assert.deepEqual(ports.sort(), [7_100, 7_101, 7_102], name);
  }
});

test('a host’s capacity is as the record says; what it leaves out is as ever', async (t) => {
  const capacityIn = async (more: Partial<RunRecord>) => {
    const agent = (await listOf(t, more)).find(({ entry }) => entry.endsWith('agent/main.ts'));
    const capacity = z.object({ vcpus: z.number(), memoryMib: z.number(), diskMib: z.number() });
    return z.object({ capacity }).parse(agent?.config).capacity;
  };
  const before = await capacityIn({});
  assert.deepEqual(await capacityIn({ hostCapacity: { memoryMib: 640 } }), { ...before, memoryMib: 640 });
});
