import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { VpcState } from '#contracts/network.ts';
import { attach, eventually, Lab, type LabCard, type LabVm, portOf, vpcOf } from './lab.ts';

const ping = (ip: string): string => `ping -c 1 -W 1 ${ip} >/dev/null`;
/** One packet that must be answered, however long a machine that does other things too takes for it. */
const patientPing = (ip: string): string => `ping -c 1 -W 15 ${ip} >/dev/null`;
/** Says its peer's greeting; fails when the connection does not come about. */
const connect = (ip: string, port: number): string =>
  `socat -T 3 - TCP:${ip}:${port},connect-timeout=1 </dev/null`;
const greeter = ['fork,reuseaddr', 'SYSTEM:echo hello'] as const;

describe('data path between two cards', () => {
  let lab: Lab;
  let one: LabCard;
  let two: LabCard;
  let a: LabVm;
  let b: LabVm;
  let c: LabVm;
  let version = 0;

  const declare = async (more: Partial<VpcState> = {}): Promise<void> => {
    version += 1;
    const state = vpcOf('vpc-1', 101, version, [a.port, b.port, c.port], more);
    for (const card of [one, two]) await card.client.call('card.applyVpc', { state });
  };

  before(async () => {
    lab = await Lab.create();
    [one, two] = await Promise.all([lab.card('c1'), lab.card('c2')]);
    a = await lab.vm('a', one, portOf(10, one.vtep));
    b = await lab.vm('b', two, portOf(11, two.vtep, { groupIds: ['sg-b'] }));
    c = await lab.vm('c', one, portOf(12, one.vtep));
    await declare(groups([]));
    await attach(one, 'vpc-1', a);
    await attach(two, 'vpc-1', b);
    await attach(one, 'vpc-1', c);
    b.start('socat', [`TCP-LISTEN:80,${greeter[0]}`, greeter[1]]);
    b.start('socat', [`TCP-LISTEN:81,${greeter[0]}`, greeter[1]]);
  });
  after(() => lab[Symbol.asyncDispose]());

  const all = { protocol: '-1', cidr: '0.0.0.0/0' };
  const groups = (ingress: VpcState['groups'][number]['ingress']): Partial<VpcState> => ({
    groups: [
      { groupId: 'sg-open', ingress: [all], egress: [all] },
      { groupId: 'sg-b', ingress, egress: [all] },
    ],
  });

  it('reaches VMs of the same card and of the other, and the router', async () => {
    await declare(groups([all]));
    for (const ip of ['10.0.0.12', '10.0.0.11', '10.0.0.1'])
      assert.deepEqual(await a.run(patientPing(ip)), { ok: true, out: '' }, ip);
    assert.ok((await b.run(patientPing('10.0.0.12'))).ok);
  });

  it('answers at once for an address that nobody has', async () => {
    assert.match((await a.run('ping -c 1 -W 5 10.0.1.77')).out, /Unreachable/);
  });

  it('opens and closes ports by security groups, by range and by group, while tracked connections stay', async () => {
    await declare(groups([]));
    assert.equal((await a.run(ping('10.0.0.11'))).ok, false);
    assert.ok((await b.run(patientPing('10.0.0.10'))).ok, 'answers to its own flows pass');
    await declare(groups([{ protocol: '6', fromPort: 80, toPort: 80, cidr: '10.0.0.10/32' }]));
    assert.match(
      (
        await eventually(
          () => a.run(connect('10.0.0.11', 80)),
          ({ ok }) => ok,
        )
      ).out,
      /hello/,
    );
    assert.equal((await a.run(connect('10.0.0.11', 81))).ok, false, 'another port');
    assert.equal((await c.run(connect('10.0.0.11', 80))).ok, false, 'another source');
    await declare(groups([{ protocol: '6', fromPort: 81, toPort: 90, groupId: 'sg-open' }]));
    assert.ok((await c.run(connect('10.0.0.11', 81))).ok);
    assert.equal((await c.run(connect('10.0.0.11', 80))).ok, false);
    await declare(groups([{ protocol: '1', fromPort: 8, toPort: -1, cidr: '0.0.0.0/0' }]));
    assert.ok((await c.run(patientPing('10.0.0.11'))).ok);
  });

  it('drops what carries another address or another MAC', async () => {
    await declare(groups([all]));
    await c.run('ip addr add 10.0.0.99/32 dev eth0');
    assert.equal((await c.run('ping -c 1 -W 1 -I 10.0.0.99 10.0.0.10')).ok, false);
    assert.equal((await c.run('ping -c 1 -W 1 -I 10.0.0.99 10.0.0.1')).ok, false);
    await c.run('ip link set eth0 address 02:00:00:00:00:66');
    assert.equal((await c.run('ping -c 1 -W 1 10.0.0.10')).ok, false);
    await c.run(`ip addr del 10.0.0.99/32 dev eth0; ip link set eth0 address ${c.port.mac}`);
    assert.ok(
      (
        await eventually(
          () => c.run(ping('10.0.0.10')),
          ({ ok }) => ok,
        )
      ).ok,
    );
  });

  it('leads neither to the underlay nor to link-local addresses nor to services of the router', async () => {
    for (const ip of [one.vtep, two.vtep, `${lab.net}.254`, '169.254.0.1', '169.254.240.1'])
      assert.equal((await a.run(ping(ip))).ok, false, ip);
    for (const [ip, port] of [
      ['10.0.0.1', 80],
      ['10.0.0.1', 67],
      ['169.254.169.254', 81],
    ] as const)
      assert.equal((await a.run(connect(ip, port))).ok, false, `${ip}:${port}`);
  });

  it('keeps two VPCs with the same range apart', async () => {
    const twin = await lab.vm('t', two, portOf(10, two.vtep, { eniId: 'eni-t', mac: '02:00:00:00:01:10' }));
    const state = vpcOf('vpc-2', 102, 1, [twin.port]);
    for (const card of [one, two]) await card.client.call('card.applyVpc', { state });
    await attach(two, 'vpc-2', twin);
    assert.ok((await twin.run(patientPing('10.0.0.1'))).ok);
    assert.equal((await twin.run(ping('10.0.0.11'))).ok, false);
    assert.equal((await twin.run(ping('10.0.0.12'))).ok, false);
    assert.ok((await a.run(patientPing('10.0.0.11'))).ok);
  });

  it('refuses older state, takes equal state as done, and finds drift', async () => {
    const older = vpcOf('vpc-1', 101, version - 1, []);
    await assert.rejects(one.client.call('card.applyVpc', { state: older }), { code: 'StaleEpoch' });
    const same = vpcOf('vpc-1', 101, version, []);
    assert.deepEqual(await one.client.call('card.applyVpc', { state: same }), { version });
    const newer = vpcOf('vpc-1', 101, version + 5, []);
    await assert.rejects(one.client.call('card.applyVpc', { state: newer, from: version - 1 }), {
      code: 'Conflict',
    });
    assert.ok((await a.run(patientPing('10.0.0.11'))).ok);
  });

  it('routes a range that was added to the VPC as its own, until it is taken away', async () => {
    const d = await lab.vm('d', two, portOf(20, two.vtep, { ip: '100.64.1.20', subnetId: 'subnet-c' }));
    const local = (destination: string) => ({ destination, target: { kind: 'local' as const } });
    const routes = [local('10.0.0.0/16'), local('100.64.0.0/16')];
    const added = (): Partial<VpcState> => ({
      ...groups([{ protocol: '-1', groupId: 'sg-open' }]),
      cidrs: ['10.0.0.0/16', '100.64.0.0/16'],
      subnets: [
        { subnetId: 'subnet-a', cidr: '10.0.0.0/24', router: '10.0.0.1', routes },
        { subnetId: 'subnet-c', cidr: '100.64.1.0/24', router: '100.64.1.1', routes },
      ],
      ports: [a.port, b.port, c.port, d.port],
    });
    await declare(added());
    await attach(two, 'vpc-1', d);
    for (const ip of ['100.64.1.20', '100.64.1.1']) assert.ok((await a.run(patientPing(ip))).ok, ip);
    for (const ip of ['10.0.0.10', '10.0.0.11']) assert.ok((await d.run(patientPing(ip))).ok, ip);
    assert.match((await a.run('ping -c 1 -W 5 100.64.2.77')).out, /Unreachable/, 'it ends inside the VPC');
    await two.client.call('card.detachPort', { eniId: d.port.eniId });
    await declare(groups([all]));
    assert.equal((await a.run(ping('100.64.1.20'))).ok, false);
    assert.ok((await a.run(patientPing('10.0.0.11'))).ok);
  });

  it('routes a range by way of another interface, which must have its check off', async () => {
    const subnets = (eniId: string): Partial<VpcState> => ({
      subnets: [
        {
          subnetId: 'subnet-a',
          cidr: '10.0.0.0/24',
          router: '10.0.0.1',
          routes: [{ destination: '192.0.2.0/24', target: { kind: 'interface', eniId } }],
        },
      ],
      ...groups([all]),
    });
    await b.run('ip addr add 192.0.2.5/32 dev lo');
    await declare(subnets(b.port.eniId));
    assert.equal((await a.run(ping('192.0.2.5'))).ok, false);
    b.port.sourceDestCheck = false;
    await declare(subnets(b.port.eniId));
    assert.ok((await a.run(patientPing('192.0.2.5'))).ok);
    b.port.sourceDestCheck = true;
    await declare(groups([all]));
    assert.equal((await a.run(ping('192.0.2.5'))).ok, false);
  });
});
