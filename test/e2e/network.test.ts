/** VPCs on real packets: what reaches whom, what a security group opens and closes, and what nothing may reach. */
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { Network, Vm } from './support/cloud.ts';
import type { Guest } from './support/guest.ts';
import { startRegion, type TestRegion } from './support/region.ts';
import { throughout, until } from './support/until.ts';
import { vmmOf } from './support/vmm.ts';

interface Machine {
  readonly vm: Vm;
  readonly guest: Guest;
}

/** As many VMs as it takes at most until two of them run on different hosts. */
const launchesMax = 4;

describe('VPC', { timeout: 14 * 60_000 }, () => {
  let region: TestRegion;
  let network: Network;
  let other: Network;
  let a: Machine;
  let b: Machine;
  let stranger: Machine;

  before(async () => {
    region = await startRegion();
    const { cloud } = region;
    network = await cloud.network('10.50.0.0/16', [22, 80]);
    other = await cloud.network('10.50.0.0/16', '-1');
    await cloud.permit('Authorize', network.groupId, { protocol: 'icmp' });
    [a, b] = await onTwoHosts();
    const [third] = await cloud.start({ network: other });
    assert.ok(third);
    stranger = third;
  });

  after(() => region?.[Symbol.asyncDispose]());

  async function onTwoHosts(): Promise<[Machine, Machine]> {
    const machines: Machine[] = await region.cloud.start({ network, count: 2 });
    for (;;) {
      const [first, ...rest] = machines;
      assert.ok(first);
      const host = vmmOf(first.vm.instanceId).host;
      const apart = rest.find((each) => vmmOf(each.vm.instanceId).host !== host);
      if (apart !== undefined) return [first, apart];
      assert.ok(machines.length < launchesMax, 'placement uses one host only');
      machines.push(...(await region.cloud.start({ network })));
    }
  }

  const pings = (from: Machine, to: string): Promise<string | undefined> =>
    from.guest.attempt(`ping -c 3 -W 3 ${to} >/dev/null`);
  /** An emulated guest may be slow to answer: what is to reach it is tried again. */
  const reach = (from: Machine, to: Machine): Promise<string> =>
    until('an answer to ping', () => pings(from, to.vm.privateIp));
  /** By `nc`: the image's static `wget` has no resolver to link with. */
  const fetches = (from: Machine, ip: string): Promise<string | undefined> =>
    from.guest.attempt(`printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 4 ${ip} 80 | grep instance-id`);

  it('carries ping and TCP between two hosts, to the VM that is meant', async () => {
    await reach(a, b);
    await reach(b, a);
    const page = await until('the page across hosts', () => fetches(a, b.vm.privateIp));
    assert.match(page, new RegExp(`instance-id: ${b.vm.instanceId}`));
  });

  it('opens and closes a port with the security group, from outside and from inside', async () => {
    const http = { protocol: 'tcp', port: 80 };
    await region.cloud.permit('Revoke', network.groupId, http);
    await until('port 80 to close', async () => !(await b.guest.accepts(80)));
    assert.equal(await fetches(a, b.vm.privateIp), undefined);
    await until('other ports to stay open', () => b.guest.accepts(22));
    await region.cloud.permit('Authorize', network.groupId, http);
    await until('port 80 to open', () => b.guest.accepts(80));
    await until('the page across hosts', () => fetches(a, b.vm.privateIp));
  });

  it('keeps a VPC with the same range apart', async () => {
    const addresses = [a.vm.privateIp, b.vm.privateIp].filter((ip) => ip !== stranger.vm.privateIp);
    assert.ok(addresses.length > 0);
    for (const ip of addresses) {
      assert.equal(await pings(stranger, ip), undefined);
      assert.equal(await fetches(stranger, ip), undefined);
    }
    assert.match(await stranger.guest.answers(), new RegExp(`instance-id: ${stranger.vm.instanceId}`));
  });

  it('drops what comes from an address that is not the VM’s own', async () => {
    const heard = (): Promise<number> => b.guest.counter('Icmp', 'InEchos');
    const spoofed = '10.50.0.199';
    const before = await heard();
    await a.guest.run(`ip addr add ${spoofed}/32 dev eth0`);
    try {
      await a.guest.run(`ping -c 5 -W 1 -I ${spoofed} ${b.vm.privateIp} >/dev/null; true`);
      assert.equal(await heard(), before, 'a spoofed echo request arrived');
    } finally {
      await a.guest.run(`ip addr del ${spoofed}/32 dev eth0`);
    }
    await reach(a, b);
    assert.ok((await heard()) > before, 'the counter does not count');
  });

  it('lets no VM reach the control plane or the machine', async () => {
    const listener = await listen();
    try {
      const { plan, run } = region;
      const machine = [plan.management, plan.uplink, plan.gatewayManagement, plan.gatewayUplink];
      const hosts = plan.hosts.flatMap((host) => [host.management, host.vtep]);
      const ports = [listener.port, 7100, 7111, run.port];
      const attempts = [
        ...machine.flatMap((place) => ports.map((port) => `nc -w 3 ${place} ${port} </dev/null`)),
        ...[...machine, ...hosts, plan.gatewayVtep].map((place) => `ping -c 1 -W 3 ${place}`),
      ];
      const loud = attempts.map((attempt) => `(${attempt} >/dev/null 2>&1 && echo "${attempt}") &`);
      assert.equal(await a.guest.run(`${loud.join(' ')} wait`), '', 'a VM reached what it must not');
      assert.equal(listener.connections(), 0);
    } finally {
      listener.server.close();
    }
  });

  it('tells a VM its own metadata and never another’s', async () => {
    const id = (machine: Machine, header = ''): Promise<string> =>
      machine.guest.run(
        `. /usr/lib/pando/metadata; metadata_token; request 'GET /latest/meta-data/instance-id' "X-aws-ec2-metadata-token: $token${header}"`,
      );
    assert.equal(await id(a), a.vm.instanceId);
    assert.equal(await id(b), b.vm.instanceId);
    assert.equal(await id(stranger), stranger.vm.instanceId);
    assert.equal(await id(a, `$(printf '\\r\\nX-Forwarded-For: ${b.vm.privateIp}')`), a.vm.instanceId);
    await a.guest.run(`ip addr add ${b.vm.privateIp}/32 dev lo`);
    try {
      const asOther = `ip route replace 169.254.169.254 dev eth0 src ${b.vm.privateIp}; nc -w 3 169.254.169.254 80 </dev/null`;
      assert.equal(await a.guest.attempt(`sh -c '${asOther}'`), undefined);
    } finally {
      await a.guest.run(`ip route replace 169.254.169.254 dev eth0; ip addr del ${b.vm.privateIp}/32 dev lo`);
    }
    assert.equal(await id(a), a.vm.instanceId);
  });

  it('keeps an established connection while another port is closed', async () => {
    const http = { protocol: 'tcp', port: 80 };
    await region.cloud.permit('Revoke', network.groupId, http);
    await throughout('the shell goes on', 5, async () => (await a.guest.run('echo alive')) === 'alive');
    await region.cloud.permit('Authorize', network.groupId, http);
  });
});

/** A server on every address of the machine that counts who connects. */
async function listen(): Promise<{ server: Server; port: number; connections: () => number }> {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return { server, port: address.port, connections: () => connections };
}
