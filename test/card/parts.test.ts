/** Network state in parts on real cards, with real packets; what nobody confirms is taken back, also by the next process. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import { difference, groupsCarried, nothingKnown, objectsFor } from '#base/network/needs.ts';
import { partsOf } from '#base/network/parts.ts';
import { readKernel } from '#card/kernel/read.ts';
import { shells } from '#card/kernel/shells.ts';
import { entriesDiff, entriesOf } from '#card/model/kernelDiff.ts';
import type { VpcState } from '#contracts/network.ts';
import { digestOf } from '#contracts/network-digest.ts';
import {
  type FleetBody,
  fleetId,
  type NetworkObject,
  type ObjectChange,
} from '#contracts/network-objects.ts';
import { attach, eventually, Lab, type LabCard, type LabVm, portOf, vpcOf } from './lab.ts';

const ping = (ip: string): string => `ping -c 1 -W 1 ${ip} >/dev/null`;
const icmp = (groupId: string, cidr: string) => ({
  groupId,
  ingress: [{ protocol: '1', fromPort: -1, toPort: -1, cidr }],
  egress: [{ protocol: '-1', cidr: '0.0.0.0/0' }],
});

/** Sets are listed in no order; counted rates come and go with the packets. */
const sorted = (text: string): string =>
  text
    .split('\n')
    .filter((line) => !line.includes('elements = { "tapa" limit rate'))
    .sort()
    .join('\n');

const fleet = (body: FleetBody, version: number): NetworkObject => {
  const what = { kind: 'fleet' as const, id: fleetId, body };
  return { ...what, version, digest: digestOf(what) };
};
const change = (to: NetworkObject, from?: string | null): ObjectChange => ({
  kind: to.kind,
  id: to.id,
  to,
  from,
});

describe('network state in parts', () => {
  let lab: Lab;
  let one: LabCard;
  let two: LabCard;
  let a: LabVm;
  let b: LabVm;
  let state: VpcState;

  const tell = async (card: LabCard, next: VpcState, before = nothingKnown): Promise<void> => {
    const parts = partsOf(next);
    const own = groupsCarried(parts, ({ vtep }) => vtep === card.vtep);
    const told = difference(before, parts, objectsFor(parts, own));
    assert.ok(told !== undefined);
    await card.client.call('card.transact', { objects: [...told.objects], places: [told.places] });
  };

  before(async () => {
    lab = await Lab.create();
    [one, two] = await Promise.all([lab.card('c1'), lab.card('c2')]);
    a = await lab.vm('a', one, portOf(10, one.vtep, { groupIds: ['sg-a'] }));
    b = await lab.vm('b', two, portOf(11, two.vtep, { groupIds: ['sg-b'] }));
    state = {
      ...vpcOf('vpc-1', 410, 1, [a.port, b.port]),
      groups: [icmp('sg-a', '10.0.0.0/24'), icmp('sg-b', '10.0.0.0/24')],
    };
    for (const card of [one, two]) await tell(card, state);
    await attach(one, 'vpc-1', a);
    await attach(two, 'vpc-1', b);
  });
  after(() => lab[Symbol.asyncDispose]());

  const ruleset = async (card: LabCard): Promise<string> =>
    (await exec('nsenter', [`--net=/run/netns/${card.namespacePrefix}vpc-1`, 'nft', 'list', 'ruleset']))
      .stdout;
  const passes = async (vm: LabVm, ip: string): Promise<boolean> => (await vm.run(ping(ip))).ok;
  const comesToPass = (vm: LabVm, ip: string): Promise<boolean> =>
    eventually(
      () => passes(vm, ip),
      (ok) => ok,
    );

  it('packets pass by the groups that each card was given, and no card has another’s', async () => {
    await comesToPass(a, '10.0.0.11');
    await comesToPass(b, '10.0.0.10');
    assert.doesNotMatch(await ruleset(one), /sg-b/);
    assert.doesNotMatch(await ruleset(two), /sg-a/);
  });

  it('a rule that changes is one object for one card', async () => {
    const parts = partsOf({ ...state, version: 2, groups: [icmp('sg-b', '192.0.2.0/24')] });
    const group = parts.objects.get('security-group/sg-b')?.current;
    assert.ok(group !== undefined);
    const places = [{ vpcId: 'vpc-1', version: 2, set: [], removed: [] }];
    const objects = [{ kind: group.kind, id: group.id, vpcId: 'vpc-1', to: group }];
    await two.client.call('card.transact', { objects, places });
    assert.equal(await passes(a, '10.0.0.11'), false);
    assert.equal(await passes(b, '10.0.0.10'), true);
    await tell(two, { ...state, version: 3 });
    await comesToPass(a, '10.0.0.11');
  });

  it('the installation’s rules come before tracked flows and groups, and go again when nobody confirms them', async () => {
    const before = await ruleset(one);
    const strict = fleet({ defaultRules: [{ on: 'from-guest', protocol: '1' }] }, 1);
    await one.client.call('card.transact', {
      ...{ transactionId: 't1', confirmWithinMs: 1_500 },
      ...{ objects: [change(strict, null)], places: [] },
    });
    assert.equal(await passes(a, '10.0.0.11'), false);
    await comesToPass(a, '10.0.0.11');
    assert.equal(sorted(await ruleset(one)), sorted(before));
  });

  it('what it says would change in the kernel is what then changes there (S8.2)', async () => {
    const body: FleetBody = {
      ...{ mtu: 1_290, blackholes: ['203.0.113.0/24'], linkLocalPacketsPerS: 77 },
      defaultRules: [{ on: 'from-guest', protocol: '17', fromPort: 9, toPort: 9 }],
    };
    const strict = fleet(body, 1);
    const namespace = `${one.namespacePrefix}vpc-1`;
    const kernel = async () => ({
      entries: entriesOf((await readKernel(namespace)).model),
      rules: (await ruleset(one)).split('\n').filter((line) => / (?:drop|accept)$/.test(line)),
    });
    const transaction = { objects: [change(strict, null)], places: [] };
    const [before, { differences }] = [await kernel(), await one.client.call('card.preview', transaction)];
    assert.deepEqual(await kernel(), before, 'nothing was touched');
    const lines = differences.flatMap(({ vpcIds, lines: own }) => (vpcIds.includes('vpc-1') ? own : []));
    await one.client.call('card.transact', transaction);
    const after = await kernel();
    const ofRules = (line: string): boolean => line.slice(2).startsWith('nft ');
    assert.deepEqual(
      lines.filter((line) => !ofRules(line)).sort(),
      entriesDiff(before.entries, after.entries).sort(),
    );
    const changed = (from: readonly string[], to: readonly string[]): number =>
      to.filter((line) => !from.includes(line)).length;
    const counted = (sign: string): number =>
      lines.filter((line) => ofRules(line) && line[0] === sign).length;
    assert.deepEqual(
      [counted('+'), counted('-')],
      [changed(before.rules, after.rules), changed(after.rules, before.rules)],
    );
    assert.ok(counted('+') > 0 && lines.length > counted('+') + counted('-'));
    await one.client.call('card.transact', {
      objects: [{ kind: strict.kind, id: strict.id, from: strict.digest }],
      places: [],
    });
    await shells.close(namespace);
  });

  it('a process that dies before the confirmation: the next one puts the kernel back', async () => {
    const before = await ruleset(one);
    const strict = fleet({ defaultRules: [{ on: 'guest-services', protocol: '1' }], mtu: 1_280 }, 1);
    assert.equal(await passes(a, '10.0.0.1'), true);
    await one.client.call('card.transact', {
      ...{ transactionId: 't2', confirmWithinMs: 600_000 },
      ...{ objects: [change(strict, null)], places: [] },
    });
    assert.equal(await passes(a, '10.0.0.1'), false);
    await one.stop('SIGKILL');
    await one.start();
    await comesToPass(a, '10.0.0.1');
    assert.equal(sorted(await ruleset(one)), sorted(before));
    const { objects } = await one.client.call('card.objects', {});
    assert.equal(objects.find(({ kind }) => kind === 'fleet')?.current, undefined);
  });

  it('a VPC whose declaration nobody confirmed stays where a VM is wired into it, also over the end of the process', async () => {
    const [c, d] = [
      await lab.vm('c', one, portOf(20, one.vtep)),
      await lab.vm('d', one, portOf(21, one.vtep)),
    ];
    const parts = partsOf(vpcOf('vpc-9', 419, 1, [c.port, d.port]));
    const own = groupsCarried(parts, ({ vtep }) => vtep === one.vtep);
    const told = difference(nothingKnown, parts, objectsFor(parts, own));
    assert.ok(told !== undefined);
    const unconfirmed = { transactionId: 't4', confirmWithinMs: 600_000 };
    await one.client.call('card.transact', { ...unconfirmed, objects: [...told.objects], places: [] });
    await one.client.call('card.transact', { objects: [], places: [told.places] });
    for (const vm of [c, d]) await attach(one, 'vpc-9', vm);
    await comesToPass(c, '10.0.0.21');
    await one.stop('SIGKILL');
    await one.start();
    assert.equal(await passes(c, '10.0.0.21'), true, 'the taps are not taken from running VMs');
    await assert.rejects(one.client.call('card.removeVpc', { vpcId: 'vpc-9' }), { code: 'Conflict' });
    for (const { port } of [c, d]) await one.client.call('card.detachPort', { eniId: port.eniId });
    await one.client.call('card.removeVpc', { vpcId: 'vpc-9' });
  });

  it('what was confirmed, versions and first states outlive the process', async () => {
    const kind = fleet({ mtu: 1_280 }, 4);
    const transaction = { objects: [change(kind, null)], places: [] };
    await one.client.call('card.transact', { ...transaction, transactionId: 't3', confirmWithinMs: 600_000 });
    await one.client.call('card.confirm', { transactionId: 't3' });
    const before = await one.client.call('card.objects', {});
    await one.stop('SIGKILL');
    await one.start();
    assert.deepEqual(await one.client.call('card.objects', {}), before);
    const link = await exec('nsenter', [
      `--net=/run/netns/${one.namespacePrefix}vpc-1`,
      ...['ip', '-o', 'link', 'show', 'dev', 'vx0'],
    ]);
    assert.match(link.stdout, /mtu 1280/);
  });
});
