import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import { issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import { type RpcServer, serveRpc } from '#base/rpc/server.ts';
import type { RpcStream } from '#base/rpc/stream.ts';
import { cardContract } from '#contracts/card.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';
import { regionContract } from '#contracts/region.ts';
import { attach, eventually, Lab, type LabCard, type LabVm, portOf, vpcOf } from '../card/lab.ts';

type GatewayStream = RpcStream<typeof regionContract, typeof cardContract>;

describe('internet gateway', () => {
  let lab: Lab;
  let card: LabCard;
  let region: RpcServer;
  let gateway: GatewayStream;
  let joined: { vtep: string; mac: string };
  let world: string;
  let publicNet: string;
  let a: LabVm;
  let b: LabVm;
  let c: LabVm;
  let version = 0;

  const worldRun = async (script: string): Promise<{ ok: boolean; out: string }> => {
    const { exitCode, stdout, stderr } = await exec('nsenter', [`--net=/run/netns/${world}`, 'sh', '-s'], {
      input: script,
      allow: [1, 2, 7, 28, 124],
    });
    return { ok: exitCode === 0, out: stdout + stderr };
  };

  const state = (ports: VpcPort[], more: Partial<VpcState> = {}): VpcState => {
    version += 1;
    const base = vpcOf('vpc-1', 300, version, ports);
    return {
      ...base,
      subnets: base.subnets.map((subnet) => ({
        ...subnet,
        routes: [{ destination: '0.0.0.0/0', target: { kind: 'internet-gateway', id: 'igw-1' } }],
      })),
      internetGateway: { id: 'igw-1', vtep: joined.vtep, mac: joined.mac },
      ...more,
    };
  };
  const push = async (next: VpcState): Promise<void> => {
    await gateway.call('card.applyVpc', { state: next });
    await card.client.call('card.applyVpc', { state: next });
  };

  before(async () => {
    lab = await Lab.create();
    publicNet = '203.0.113';
    const node = await lab.node('gw');
    world = await lab.namespace('world');
    await exec('sh', ['-e', '-s'], {
      input: `ip link add name up0 netns ${node.netns} type veth peer name gw netns ${world}
ip -n ${world} addr add 192.0.2.1/30 dev gw
ip -n ${world} addr add 198.51.100.1/32 dev lo
ip -n ${world} link set gw up
ip -n ${world} route add ${publicNet}.0/24 via 192.0.2.2
ip -n ${node.netns} addr add 192.0.2.2/30 dev up0
ip -n ${node.netns} link set up0 up
ip -n ${node.netns} route add default via 192.0.2.1
`,
    });
    const connected = new Promise<void>((resolve, reject) => {
      void issueCertificate(lab.authority, 'spiffe://pando/region/region').then(async (tls) => {
        region = await serveRpc({
          tls,
          host: `${lab.net}.254`,
          port: 7100,
          contract: regionContract,
          access: openAccess(regionContract),
          remote: cardContract,
          authorize: (identity) => identity === 'spiffe://pando/gateway/gw',
          handlers: (stream) => ({
            'region.joinGateway': (params) => {
              joined = params;
              gateway = stream;
              resolve();
              return {};
            },
          }),
        });
      }, reject);
    });
    const config = {
      name: 'gw',
      stateDir: join(lab.directory, 'state-gw'),
      runPrefix: `${lab.prefix}-`,
      netns: node.netns,
      underlayDevice: 'ul',
      vtep: node.ip,
      uplinkDevice: 'up0',
      region: { host: `${lab.net}.254`, port: 7100 },
      tls: await lab.tlsFiles('gateway', 'gw'),
    };
    const path = join(lab.directory, 'gw.json');
    await writeFile(path, JSON.stringify(config));
    const main = join(import.meta.dirname, '../../src/gateway/main.ts');
    lab.spawnIn(node.netns, process.execPath, [main, '--config', path]);
    card = await lab.card('c1');
    await connected;
    a = await lab.vm('a', card, portOf(10, card.vtep, { publicIp: `${publicNet}.20` }));
    b = await lab.vm('b', card, portOf(11, card.vtep, { publicIp: `${publicNet}.21` }));
    c = await lab.vm('c', card, portOf(12, card.vtep));
    await push(state([a.port, b.port, c.port]));
    for (const vm of [a, b, c]) await attach(card, 'vpc-1', vm);
  });
  after(async () => {
    await region?.close();
    await lab[Symbol.asyncDispose]();
  });

  it('translates one to one, in and out', async () => {
    a.start('socat', ['TCP-LISTEN:8000,fork,reuseaddr', 'SYSTEM:echo $SOCAT_PEERADDR']);
    assert.match(
      (
        await eventually(
          () => worldRun(`socat -T 3 - TCP:${publicNet}.20:8000,connect-timeout=2 </dev/null`),
          ({ ok }) => ok,
        )
      ).out,
      /192\.0\.2\.1/,
    );
    lab.spawnIn(world, 'socat', ['TCP-LISTEN:9000,fork,reuseaddr', 'SYSTEM:echo $SOCAT_PEERADDR']);
    const seen = await eventually(
      () => a.run('socat -T 3 - TCP:198.51.100.1:9000,connect-timeout=2 </dev/null'),
      ({ ok }) => ok,
    );
    assert.match(seen.out, new RegExp(`${publicNet}.20`));
  });

  it('lets nothing out without a public address', async () => {
    assert.equal((await c.run('ping -c 1 -W 1 198.51.100.1')).ok, false);
  });

  it('leads from one VM to another by its public address', async () => {
    const { out } = await b.run(`socat -T 3 - TCP:${publicNet}.20:8000,connect-timeout=2 </dev/null`);
    assert.match(out, new RegExp(`${publicNet}.21`));
  });

  it('does not lead to the control plane, the machine, or the gateway itself', async () => {
    await worldRun('ip addr add 198.18.0.1/32 dev lo');
    for (const ip of ['192.0.2.1', '192.0.2.2', '198.18.0.1', `${lab.net}.254`, joined.vtep])
      assert.equal((await a.run(`ping -c 1 -W 1 ${ip}`)).ok, false, ip);
    assert.ok((await a.run('ping -c 1 -W 2 198.51.100.1')).ok);
  });

  it('moves flows that are under way with their address: failover by address fails over, and private ones stay', async () => {
    const sayer = (name: string): string =>
      `const s = require('node:dgram').createSocket('udp4'); s.bind(6000); s.on('message', (m, f) => s.send('${name}', f.port, f.address));
       require('node:net').createServer((c) => { c.on('error', () => {}); c.on('data', () => c.write('${name}')); }).listen(6001);`;
    for (const [name, vm] of Object.entries({ a, b })) vm.start(process.execPath, ['-e', sayer(name)]);
    // Ends with the first answer.
    const asker = `const [ip, port] = process.argv.slice(2), s = require('node:dgram').createSocket('udp4');
       s.on('message', (m) => { process.stdout.write(m); process.exit(0); }); setTimeout(() => process.exit(1), 10_000);
       s.bind(Number(port), () => s.send('q', 6000, ip));`;
    const ask = (ip: string, port: number): string =>
      `${process.execPath} - ${ip} ${port} <<'END'\n${asker}\nEND`;
    const says = (run: () => Promise<{ out: string }>, text: string) =>
      eventually(run, ({ out }) => out.includes(text));
    await says(() => worldRun(ask(`${publicNet}.20`, 4000)), 'a');
    await says(() => c.run(ask(a.port.ip, 4000)), 'a');
    await says(() => c.run(ask(b.port.ip, 4001)), 'b');
    const tcp = lab.spawnIn(world, process.execPath, [
      '-e',
      `const s = require('node:net').connect({ host: '${publicNet}.20', port: 6001, localPort: 4001 });
       s.on('error', () => process.exit(7)); s.on('close', () => process.exit(7));
       s.on('data', (d) => process.stdout.write(d)); setInterval(() => s.write('q'), 50);`,
    ]);
    let heard = '';
    tcp.stdout?.on('data', (chunk: Buffer) => {
      heard += chunk;
    });
    await eventually(
      async () => heard,
      (text) => text.includes('a'),
    );
    const tracked = async (): Promise<string> =>
      (await exec('ip', ['netns', 'exec', `${card.namespacePrefix}vpc-1`, 'cat', '/proc/net/nf_conntrack']))
        .stdout;
    assert.match(await tracked(), /192\.0\.2\.1 /);
    await push(
      state([{ ...a.port, publicIp: undefined }, { ...b.port, publicIp: `${publicNet}.20` }, c.port]),
    );
    // At once, by the very ports of the flow that led to the last holder.
    assert.equal((await worldRun(ask(`${publicNet}.20`, 4000))).out, 'b');
    // The new holder does not know the connection and says so.
    await eventually(
      async () => tcp.exitCode,
      (code) => code === 7,
    );
    const left = await tracked();
    const old = left.split('\n').filter((line) => line.includes('192.0.2.1 ') && line.includes(a.port.ip));
    // What its former holder itself still sends of the connection is tracked, and goes under no address but its own: nowhere.
    const ownWord = new RegExp(
      `src=${a.port.ip} dst=192\\.0\\.2\\.1 .*\\[UNREPLIED\\] src=192\\.0\\.2\\.1 dst=${a.port.ip} `,
    );
    assert.deepEqual(
      old.filter((line) => !ownWord.test(line)),
      [],
    );
    assert.match(left, new RegExp(`src=${c.port.ip} dst=${a.port.ip} `), 'a flow inside of the VPC stays');

    await push(state([a.port, b.port, c.port]));
    assert.equal((await worldRun(ask(`${publicNet}.20`, 4000))).out, 'a', 'and back');
  });

  it('follows an address to another VM, and forgets a VPC whose gateway is detached', async () => {
    await push(
      state([{ ...a.port, publicIp: undefined }, { ...b.port, publicIp: `${publicNet}.20` }, c.port]),
    );
    assert.equal((await a.run('ping -c 1 -W 1 198.51.100.1')).ok, false);
    assert.ok((await worldRun(`ping -c 1 -W 2 ${publicNet}.20`)).ok);
    await push(state([a.port, b.port, c.port], { internetGateway: undefined }));
    assert.equal((await worldRun(`ping -c 1 -W 1 ${publicNet}.20`)).ok, false);
    const { stdout } = await exec('ip', ['netns', 'list']);
    assert.equal(stdout.includes(`${lab.prefix}-gw-vpc-1`), false);
  });
});
