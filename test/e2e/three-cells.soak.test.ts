/**
 * Three cells with real VMs of twenty accounts (S3.5). One cell dies with its store, under load: nobody else feels it, and what is missing is
 * named. All but one die: that one launches. The routers die: what was begun ends.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { Ec2Client } from '#cli/ec2Client.ts';
import { withCell } from '#cli/operator.ts';
import { itemsAt, textAt } from '#cli/xmlTree.ts';
import { cellNumberOf } from '#contracts/ids.ts';
import { cellName } from '#lab/plan.ts';
import { newAccount } from './support/account.ts';
import { typeSmallest } from './support/cloud.ts';
import { type Outage, outageOf } from './support/outage.ts';
import type { LabProcess } from './support/processes.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { type Caller, shownFigures, steadyLoad } from './support/steadyLoad.ts';
import { until } from './support/until.ts';
import { vmmOf } from './support/vmm.ts';

const accounts = 20;
const bootingMax = 4;
const pace = { rounds: 30, everyMs: 500 };
const launchesMeanwhile = 2;
/** The goal is 1.1. On a machine that does other things too a tail says less than that. */
const p99RatioMax = 3;
const impatient = { timeoutMs: 15_000, unavailableMs: 0 };

interface Tenant {
  readonly ec2: Ec2Client;
  readonly instanceId: string;
  readonly cell: number;
  readonly vmm: number;
}

const isOf =
  (cells: readonly number[]) =>
  ({ name, kind }: LabProcess): boolean =>
    (kind === 'cell' || kind === 'postgres') && cells.some((cell) => name.includes(cellName(cell)));

describe('three cells, twenty accounts', { timeout: 15 * 60_000 }, () => {
  let region: TestRegion;
  let launchForm: Record<string, string>;
  const tenants: Tenant[] = [];
  /** An account with a VM in two cells: what it sees when one of them is away. */
  let spread: { readonly ec2: Ec2Client; readonly instanceIds: readonly string[] };
  const outages: Outage[] = [];

  before(async () => {
    region = await startRegion({
      ...{ cells: 3, hostsPerCell: 1 },
      record: { zones: 1, cellsPerAccount: 1, routers: 2 },
    });
    const ImageId = await region.cloud.image();
    launchForm = { ImageId, InstanceType: typeSmallest, MinCount: '1', MaxCount: '1' };
    const clients: Ec2Client[] = [];
    for (let at = 0; at < accounts; at++) clients.push(await newAccount(region, `tenant-${at}`));
    const waiting = [...clients];
    const boot = async (): Promise<void> => {
      for (let ec2 = waiting.pop(); ec2 !== undefined; ec2 = waiting.pop()) tenants.push(await settle(ec2));
    };
    await Promise.all(Array.from({ length: bootingMax }, boot));
    const [first] = tenants;
    assert.ok(first);
    await region.pando('cell', 'drain', cellName(first.cell));
    // Until routers have heard of the drain, the account's own cell refuses what they send there.
    const second = await until('the next cell to take its launches', () => launch(first.ec2));
    await region.pando('cell', 'drain', cellName(first.cell), '--undo');
    assert.notEqual(cellNumberOf(second), first.cell);
    spread = { ec2: first.ec2, instanceIds: [first.instanceId, second] };
  });

  after(async () => {
    for (const outage of outages) outage.end();
    await region?.[Symbol.asyncDispose]();
  });

  const launch = async (ec2: Ec2Client): Promise<string> => {
    const id = await begin(ec2);
    await until(`${id} to run`, async () => (await stateOf(ec2, id)) === 'running');
    return id;
  };
  const begin = async (ec2: Ec2Client): Promise<string> => {
    const [item] = itemsAt(await ec2.call('RunInstances', launchForm), 'instancesSet');
    return textAt(item ?? assert.fail('no instance'), 'instanceId');
  };
  const describeOf = async (ec2: Ec2Client, params: Record<string, string> = {}) => {
    const answer = await ec2.call('DescribeInstances', params, impatient);
    const instances = itemsAt(answer, 'reservationSet').flatMap((each) => itemsAt(each, 'instancesSet'));
    return { instances, missing: itemsAt(answer, 'unreachableCellSet').map((item) => item.text.trim()) };
  };
  const stateOf = async (ec2: Ec2Client, id: string): Promise<string> => {
    const [item] = (await describeOf(ec2, { 'InstanceId.1': id })).instances;
    const state = textAt(item ?? assert.fail(`${id} is not described`), 'instanceState', 'name');
    assert.ok(state === 'pending' || state === 'running', `${id} is ${state}`);
    return state;
  };
  const settle = async (ec2: Ec2Client): Promise<Tenant> => {
    const instanceId = await launch(ec2);
    return { ec2, instanceId, cell: cellNumberOf(instanceId), vmm: vmmOf(instanceId).pid };
  };
  const outage = async (isHit: (process: LabProcess) => boolean): Promise<Outage> => {
    const begun = await outageOf(region.directory, isHit);
    outages.push(begun);
    return begun;
  };
  const assertVmsRun = (): void => {
    for (const { instanceId, vmm } of tenants) assert.equal(vmmOf(instanceId).pid, vmm, instanceId);
  };
  /** Every tenant's VM is described as running again, and nothing is missing. */
  const complete = (): Promise<unknown> =>
    until('every cell to be back', async () => {
      const all = await Promise.all(tenants.map(({ ec2 }) => describeOf(ec2)));
      return all.every(
        ({ instances, missing }, at) =>
          missing.length === 0 &&
          instances.some((each) => textAt(each, 'instanceId') === tenants[at]?.instanceId),
      );
    });
  const callerOf =
    ({ ec2, instanceId }: Tenant): Caller =>
    (turn) => {
      const forms = [
        ['DescribeInstances', {}],
        ['DescribeInstances', { 'InstanceId.1': instanceId }],
        ['CreateTags', { 'ResourceId.1': instanceId, 'Tag.1.Key': 'turn', 'Tag.1.Value': String(turn) }],
        ['RunInstances', { ...launchForm, DryRun: 'true' }],
      ] as const;
      const [action, params] = forms[turn % forms.length] ?? forms[0];
      return ec2.call(action, params, impatient);
    };

  it('one dies with its store, under load: nobody else feels it, and it is named', async (t: TestContext) => {
    const dead = cellNumberOf(spread.instanceIds[0] ?? '');
    const elsewhere = tenants.filter(({ cell }) => cell !== dead);
    const inside = tenants.filter(({ cell }) => cell === dead);
    t.diagnostic(`${inside.length} accounts in ${cellName(dead)}, ${elsewhere.length} elsewhere`);
    const load = async () => {
      const [others] = await Promise.all([
        steadyLoad(elsewhere.map(callerOf), pace),
        steadyLoad(inside.map(callerOf), pace),
      ]);
      return others;
    };
    const before = await load();
    t.diagnostic(`before: ${shownFigures(before)}`);

    const meanwhile = load();
    const { end } = await outage(isOf([dead]));
    const begun = performance.now();
    const seen = await until('it to be named', async () => {
      const found = await describeOf(spread.ec2);
      return found.missing.length > 0 && found;
    });
    const tookMs = performance.now() - begun;
    assert.deepEqual(seen.missing, [cellName(dead)]);
    assert.deepEqual(
      seen.instances.map((each) => textAt(each, 'instanceId')),
      spread.instanceIds.slice(1),
    );
    t.diagnostic(`${cellName(dead)} was named ${tookMs.toFixed(0)} ms after its death`);
    const during = await meanwhile;
    t.diagnostic(
      `during: ${shownFigures(during)}, p99 × ${(during.p99Ms / before.p99Ms).toFixed(2)} (goal 1.10)`,
    );
    assert.deepEqual(during.errors, before.errors);
    assert.deepEqual(before.errors, []);
    assert.ok(during.p99Ms < p99RatioMax * before.p99Ms, 'p99 elsewhere');

    for (const { ec2, cell } of elsewhere.slice(0, launchesMeanwhile))
      assert.equal(cellNumberOf(await launch(ec2)), cell, 'launches elsewhere go on');
    assertVmsRun();
    end();
    await complete();
    assertVmsRun();
  });

  it('all but one die: that one launches, for accounts of the others too', async () => {
    const [one] = tenants;
    const stranger = tenants.find(({ cell }) => cell !== one?.cell);
    assert.ok(one && stranger);
    const { end } = await outage(isOf([1, 2, 3].filter((cell) => cell !== one.cell)));
    for (const { ec2 } of [one, stranger]) assert.equal(cellNumberOf(await launch(ec2)), one.cell);
    assertVmsRun();
    end();
    await complete();
  });

  it('all routers die: what was begun ends', async () => {
    const [one] = tenants;
    assert.ok(one);
    const id = await begin(one.ec2);
    const { end } = await outage(({ kind }) => kind === 'router');
    await until('the launch to end', () =>
      withCell(region, cellNumberOf(id), async (cell) => {
        const { instances } = await cell.call('operator.instances', {});
        return instances.find(({ instanceId }) => instanceId === id)?.state === 'running';
      }),
    );
    assert.ok(vmmOf(id).pid > 0);
    assertVmsRun();
    end();
    assert.equal(await until('the API', () => stateOf(one.ec2, id)), 'running');
  });
});
