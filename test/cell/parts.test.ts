/** Network state in parts between the region, a cell and its hosts' cards: who is told what, and what peers of the last release get. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { partsOf } from '#base/network/parts.ts';
import type { Caller } from '#base/rpc/contract.ts';
import type { HostCaller } from '#cell/hosts/sessions.ts';
import { PandoError } from '#contracts/errors.ts';
import type { cellPushContract } from '#contracts/region.ts';
import { CellDevice } from '#region/devices.ts';
import { SimCaller } from '#simhost/caller.ts';
import type { SimHost } from '#simhost/sim-host.ts';
import { TestCell, type TestProcessor, until } from './support/harness.ts';
import { launch, reaches } from './support/instances.ts';

interface Sent {
  readonly host: string;
  readonly method: string;
  readonly bytes: number;
  readonly params: unknown;
}

let setup: TestCell;
let processor: TestProcessor;
let device: CellDevice;
const hosts: SimHost[] = [];
const sent: Sent[] = [];

const notServed = (method: string) => new PandoError('UnsupportedOperation', `${method} is not served here.`);
const newMethods = new Set(['card.objects', 'card.transact', 'card.confirm']);

/** A session that is watched; one of the last release knows no parts. */
const sessionOf = (host: SimHost, { former = false } = {}): HostCaller => {
  const inner = new SimCaller(host, { checked: true });
  return {
    call: async (method, params, options) => {
      sent.push({ host: host.hostId, method, params, bytes: JSON.stringify(params).length });
      if (former && newMethods.has(method)) throw notServed(method);
      if (former && method === 'vm.prepareNetwork') assert.ok('vpc' in params && params.vpc !== undefined);
      return inner.call(method, params, options);
    },
  };
};

/** What the region's side of a processor's stream is. */
const streamTo = ({ cell }: TestProcessor): Caller<typeof cellPushContract> & { closed: boolean } => {
  const { vpcs } = cell.services;
  const handlers: Record<string, (params: never) => unknown> = {
    'cell.applyParts': ({ objects, places }: never) => vpcs.applyParts(objects, places),
    'cell.objects': ({ vpcIds }: never) => vpcs.objects(vpcIds),
    'cell.applyVpc': ({ state }: never) => vpcs.push(state),
  };
  return {
    closed: false,
    call: async (method, params) => {
      const copy = JSON.parse(JSON.stringify(params)) as never;
      // What the processor answers is of this same method.
      return JSON.parse(JSON.stringify(await handlers[method]?.(copy))) as never;
    },
  };
};

const connect = (host: SimHost, options = {}) =>
  processor.cell.reports.hello(host.hello(), sessionOf(host, options));

before(async () => {
  setup = await TestCell.start();
  for (let n = 0; n < 3; n++) hosts.push(setup.addHost());
  processor = await setup.addProcessor({ hosts: [] });
  device = new CellDevice('cell-1', 1);
  device.join(streamTo(processor));
  setup.region.push = (state) => device.apply(state);
  for (const host of hosts) await connect(host);
});
after(() => setup.stop());

const digestNow = (): string => partsOf(setup.region.state()).places.digest;
const digestOn = (host: SimHost): string | undefined =>
  host.card.parts.get(setup.region.vpcId)?.places.digest;
const told = (host: SimHost, since: number): Sent[] =>
  sent.slice(since).filter((each) => each.host === host.hostId && each.method.startsWith('card.'));

test('a launch declares its VPC in parts, and every card of the VPC is told the place alone', async () => {
  const [first] = hosts;
  assert.ok(first !== undefined);
  for (let n = 0; n < 6; n++)
    await reaches(processor.cell, await launch(processor.cell, setup.region), 'running');
  const used = hosts.filter((host) => host.card.ports.size > 0);
  assert.ok(used.length > 0);
  const since = sent.length;
  await reaches(processor.cell, await launch(processor.cell, setup.region), 'running');
  for (const host of used) {
    await until('it has the newest places', () => digestOn(host) === digestNow());
    for (const { method, params } of told(host, since)) {
      assert.equal(method, 'card.transact');
      const { objects, places } = params as {
        objects: unknown[];
        places: { set: unknown[]; complete?: boolean }[];
      };
      assert.deepEqual([objects.length, places[0]?.set.length, places[0]?.complete], [0, 1, undefined]);
    }
  }
  const whole = sent.filter(
    ({ method, params }) => method === 'card.applyVpc' || Object.hasOwn(Object(params), 'vpc'),
  );
  assert.deepEqual(whole, [], 'nobody was told a whole document');
});

test('a card that comes back says what it has by digest and is told the difference', async () => {
  const host = hosts.find((each) => each.card.ports.size > 0);
  assert.ok(host !== undefined);
  const since = sent.length;
  await connect(host);
  await until('it was asked', () => told(host, since).some(({ method }) => method === 'card.objects'));
  await reaches(processor.cell, await launch(processor.cell, setup.region), 'running');
  await until('it has the newest places', () => digestOn(host) === digestNow());
  const complete = told(host, since).filter(({ params }) =>
    JSON.stringify(params).includes('"complete":true'),
  );
  assert.deepEqual(complete, [], 'what it has is not told again');
  // It loses what it had, and comes back.
  host.card.parts.clear();
  await connect(host);
  await until('it has all of it again', () => digestOn(host) === digestNow());
});

test('a card whose places are not what was told is noticed with the next change, and mended', async () => {
  const host = hosts.find((each) => each.card.ports.size > 0);
  const { vpcId } = setup.region;
  const parts = host?.card.parts.get(vpcId);
  assert.ok(host !== undefined && parts !== undefined);
  const [eniId = ''] = parts.places.entries.keys();
  const places = parts.places.apply({ vpcId, version: parts.places.version, set: [], removed: [eniId] });
  host.card.parts.set(vpcId, { ...parts, places });
  await reaches(processor.cell, await launch(processor.cell, setup.region), 'running');
  await until('it was mended', () => digestOn(host) === digestNow());
});

test('a host of the last release is told whole documents, beside others that are told parts', async () => {
  const host = hosts.find((each) => each.card.ports.size > 0);
  assert.ok(host !== undefined);
  await connect(host, { former: true });
  const since = sent.length;
  for (let n = 0; n < 3; n++)
    await reaches(processor.cell, await launch(processor.cell, setup.region), 'running');
  await until('it has the newest', () => digestOn(host) === digestNow());
  assert.ok(told(host, since).some(({ method }) => method === 'card.applyVpc'));
  for (const each of hosts)
    if (each.card.ports.size > 0) await until('all have it', () => digestOn(each) === digestNow());
  await connect(host);
  await reaches(processor.cell, await launch(processor.cell, setup.region), 'running');
  await until('it has the newest', () => digestOn(host) === digestNow());
});

test('a region of the last release is understood: it is asked for the whole, and pushes the whole', async () => {
  setup.region.before = (method) => {
    if (method === 'region.vpcParts') throw notServed(method);
  };
  setup.region.push = (state) => processor.cell.services.vpcs.push(state);
  for (const host of hosts) await connect(host);
  await reaches(processor.cell, await launch(processor.cell, setup.region), 'running');
  for (const each of hosts)
    if (each.card.ports.size > 0) await until('all have it', () => digestOn(each) === digestNow());
  setup.region.before = undefined;
  setup.region.push = (state) => device.apply(state);
});

test('while the region is away, a card that lost everything is told what the cell has kept', async () => {
  const host = hosts.find((each) => each.card.ports.size > 0);
  assert.ok(host !== undefined);
  await processor.cell.services.vpcs.save();
  setup.region.before = (method) => {
    if (method.startsWith('region.vpc')) throw new PandoError('HostUnreachable', 'The region is away.');
  };
  host.card.parts.clear();
  await connect(host);
  await until('it has all of it again', () => digestOn(host) === digestNow());
  setup.region.before = undefined;
});

test('another processor, which has heard of nothing, is told what it lacks, and launches', async () => {
  const second = await setup.addProcessor({ hosts });
  await reaches(second.cell, await launch(second.cell, setup.region), 'running');
  const other = new CellDevice('cell-1', 1);
  other.join(streamTo(second));
  await other.apply(setup.region.state());
  const [known] = second.cell.services.vpcs.objects([setup.region.vpcId]).places;
  assert.equal(known?.digest, digestNow());
  for (const each of hosts)
    if (each.card.ports.size > 0) await until('all have it', () => digestOn(each) === digestNow());
  // The first one was not told; it is asked, and told what it lacks.
  await device.apply(setup.region.state());
  assert.equal(processor.cell.services.vpcs.objects([setup.region.vpcId]).places[0]?.digest, digestNow());
});
