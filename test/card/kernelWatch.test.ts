/** Kernel state that is lost behind a real card's back while nothing changes. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import { countRuleset, missingOf } from '#card/kernel/loss.ts';
import { ownOf, readKernel } from '#card/kernel/read.ts';
import { shells } from '#card/kernel/shells.ts';
import { emptyModel } from '#card/model/model.ts';
import { attach, eventually, Lab, type LabCard, type LabVm, portOf, vpcOf } from './lab.ts';

const ping = (ip: string): string => `ping -c 1 -W 1 ${ip} >/dev/null`;
/** One packet that must be answered, however long a machine that does other things too takes for it. */
const patientPing = (ip: string): string => `ping -c 1 -W 15 ${ip} >/dev/null`;

describe('a card looks whether the kernel still has what it put there', () => {
  let lab: Lab;
  let one: LabCard;
  let two: LabCard;
  let a: LabVm;
  let b: LabVm;

  before(async () => {
    lab = await Lab.create();
    one = await lab.card('c1', { kernelLookEveryMs: 100 });
    two = await lab.card('c2');
    a = await lab.vm('a', one, portOf(10, one.vtep));
    b = await lab.vm('b', two, portOf(11, two.vtep));
    const state = vpcOf('vpc-1', 430, 1, [a.port, b.port]);
    for (const card of [one, two]) await card.client.call('card.applyVpc', { state });
    await attach(one, 'vpc-1', a);
    await attach(two, 'vpc-1', b);
    await eventually(
      () => a.run(ping('10.0.0.11')),
      ({ ok }) => ok,
    );
  });
  after(() => lab[Symbol.asyncDispose]());

  const inside = async (script: string): Promise<string> =>
    (await exec('nsenter', [`--net=/run/netns/${one.namespacePrefix}vpc-1`, 'sh', '-c', script])).stdout;

  const losses: readonly [string, string][] = [
    ['routes', 'ip route del 10.0.0.11'],
    ['neighbours', 'ip neigh del 10.0.0.10 dev tapa'],
    ['entries of the overlay', 'bridge fdb del 02:00:00:00:00:0b dev vx0 self'],
    ['rules that choose a table', 'ip rule del pref 1000 from 10.0.0.0/24; ip rule del pref 900'],
    ['the router’s addresses', 'ip addr del 10.0.0.1/32 dev lo; ip addr del 169.254.169.254/32 dev lo'],
    ['tables of the firewall', 'nft flush ruleset'],
    ['rules of one chain', 'nft flush chain inet pando forward'],
  ];
  for (const [what, script] of losses)
    it(`${what} are put back, and packets pass again`, async () => {
      const list =
        'ip route show table all; ip rule; ip neigh show nud permanent; bridge fdb show dev vx0; ip -4 addr show lo; nft -s -t list ruleset';
      const before = lines(await inside(list));
      await inside(script);
      const now = await eventually(
        async () => lines(await inside(list)),
        (found) => before.every((line) => found.includes(line)),
      );
      assert.deepEqual(now, before);
      assert.ok((await a.run(patientPing('10.0.0.11'))).ok);
      assert.ok((await b.run(patientPing('10.0.0.10'))).ok);
    });

  it('a guest that is being asked over ARP has lost nothing, and nobody has changed its entry', async () => {
    const name = `${one.namespacePrefix}vpc-1`;
    const { model } = await readKernel(name);
    const [entry = '', mac = ''] = [...model.neighbours].find(([key]) => key.endsWith(' dev tapa')) ?? [];
    const look = async () => ownOf(await readKernel(name), model).neighbours.get(entry);
    assert.equal(await look(), mac);
    for (const state of ['probe', 'reachable', 'permanent']) {
      await inside(`ip neigh replace ${entry.replace(' ', ` lladdr ${mac} `)} nud ${state}`);
      assert.equal(await look(), mac, state);
    }
    await inside(`ip neigh replace ${entry.replace(' ', ' lladdr 02:00:00:00:00:77 ')} nud reachable`);
    assert.notEqual(await look(), mac, 'another hardware address');
    // This process's own shell would keep the namespace alive.
    await shells.close(name);
  });

  it('the next change after a loss finds the card whole', async () => {
    await inside('nft flush ruleset; ip route flush table main');
    await one.client.call('card.applyVpc', { state: vpcOf('vpc-1', 430, 2, [a.port, b.port]) });
    await eventually(
      () => a.run(ping('10.0.0.11')),
      ({ ok }) => ok,
    );
  });

  it('a namespace that is gone as a whole is made anew, and a VM that is attached after that is reached', async () => {
    const c = await lab.vm('c', one, portOf(12, one.vtep));
    const name = `${one.namespacePrefix}vpc-1`;
    await exec('ip', ['netns', 'del', name]);
    await eventually(
      () => inside('ip -4 addr show lo; ip link show vx0').catch(() => ''),
      (found) => found.includes('10.0.0.1/32') && found.includes('vx0'),
    );
    const state = vpcOf('vpc-1', 430, 3, [a.port, b.port, c.port]);
    for (const card of [one, two]) await card.client.call('card.applyVpc', { state });
    await attach(one, 'vpc-1', c);
    await eventually(
      () => c.run(ping('10.0.0.11')),
      ({ ok }) => ok,
    );
    assert.ok((await b.run(patientPing('10.0.0.12'))).ok);
  });
});

const lines = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('valid_lft'))
    .sort();

it('a firewall with fewer rules or elements, or without a chain, has lost something; one with more has not', () => {
  const chain = 'inet pando forward';
  const model = {
    ...emptyModel,
    chains: new Map([[chain, { rules: ['accept', 'drop'] }]]),
    sets: new Map([
      ['inet pando own', { kind: 'set' as const, type: 'ipv4_addr', elements: new Set(['10.0.0.1']) }],
      [
        'inet pando rate',
        { kind: 'set' as const, type: 'ifname', flags: 'dynamic', elements: new Set(['x']) },
      ],
    ]),
  };
  const counts = (rules: number, elements: number) =>
    new Map([
      [chain, rules],
      ['inet pando own', elements],
      ['inet pando rate', 0],
    ]);
  assert.equal(missingOf(model, counts(2, 1)), undefined);
  assert.equal(missingOf(model, counts(3, 4)), undefined);
  assert.match(missingOf(model, counts(1, 1)) ?? '', /forward has 1 of 2/);
  assert.match(missingOf(model, counts(2, 0)) ?? '', /own has 0 of 1/);
  assert.match(missingOf(model, new Map()) ?? '', /is gone/);
  const text = JSON.stringify({
    nftables: [
      { metainfo: { version: '1' } },
      { chain: { family: 'inet', table: 'pando', name: 'forward' } },
      { rule: { family: 'inet', table: 'pando', chain: 'forward', expr: [] } },
      { set: { family: 'inet', table: 'pando', name: 'own', elem: ['10.0.0.1', '10.0.0.2'] } },
    ],
  });
  assert.deepEqual(Object.fromEntries(countRuleset(text)), { [chain]: 1, 'inet pando own': 2 });
});
