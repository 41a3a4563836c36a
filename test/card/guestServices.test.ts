/** What guests send to metadata and DHCP: parsed without privileges, in bounds, and no trouble to anybody else. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import { guestServicesUidBase, linkLocalPacketsPerS, metadataConnectionsPerVmMax } from '#card/limits.ts';
import { attach, eventually, Lab, type LabCard, type LabVm, portOf, vpcOf } from './lab.ts';

const service = 'http://169.254.169.254';
const token = `curl -s -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' ${service}/latest/api/token`;
const vni = 210;
const otherVni = 211;

/** Sends datagrams to DHCP and to the metadata address as fast as it can. */
const flood = `
  const s = require('node:dgram').createSocket('udp4');
  const junk = Buffer.alloc(300, 1);
  s.bind(68, () => {
    s.setBroadcast(true);
    const on = () => {
      for (let n = 0; n < 200; n++) { s.send(junk, 67, '255.255.255.255'); s.send(junk, 80, '169.254.169.254'); }
      setImmediate(on);
    };
    on();
  });`;
/** Opens connections that never end their request, and says how many are open. */
const slow = `
  const net = require('node:net');
  let open = 0;
  for (let n = 0; n < 100; n++) {
    const s = net.connect(80, '169.254.169.254', () => { open += 1; s.write('GET /latest/ HTTP/1.1\\r\\nX-Slow: '); });
    s.on('error', () => undefined);
    s.on('close', () => { open -= 1; });
    setInterval(() => s.writable && s.write('a'), 100);
  }
  setInterval(() => console.log('open ' + open), 50);`;

/** Sends one DHCPDISCOVER of this hardware address. */
const discover = (mac: string): string =>
  [
    `const p=Buffer.alloc(300)`,
    `p.set([1,1,6])`,
    `p.write('${mac.replaceAll(':', '')}',28,'hex')`,
    `p.write('63825363350101ff',236,'hex')`,
    `const s=require('node:dgram').createSocket('udp4')`,
    `s.bind(68,()=>{s.setBroadcast(true);s.send(p,67,'255.255.255.255',()=>s.close())})`,
  ].join(';');

describe('metadata and DHCP under attack', () => {
  let lab: Lab;
  let card: LabCard;
  let other: LabCard;
  let a: LabVm;
  let b: LabVm;
  let c: LabVm;

  before(async () => {
    lab = await Lab.create();
    [card, other] = await Promise.all([lab.card('c1'), lab.card('c2')]);
    a = await lab.vm('a', card, portOf(10, card.vtep));
    b = await lab.vm('b', card, portOf(11, card.vtep));
    c = await lab.vm('c', card, portOf(12, card.vtep));
    await card.client.call('card.applyVpc', { state: vpcOf('vpc-1', vni, 1, [a.port, b.port]) });
    await card.client.call('card.applyVpc', { state: vpcOf('vpc-2', otherVni, 1, [c.port]) });
    await attach(card, 'vpc-1', a);
    await attach(card, 'vpc-1', b);
    await attach(card, 'vpc-2', c);
  });
  after(() => lab[Symbol.asyncDispose]());

  const inVpc = async (command: string): Promise<string> =>
    (await exec('nsenter', [`--net=/run/netns/${card.namespacePrefix}vpc-1`, 'sh', '-c', command])).stdout;
  /** The process that answers the guests of the VPC. */
  const helper = async (vpc = 'vpc-1', uid = guestServicesUidBase + vni): Promise<number | undefined> => {
    const { stdout } = await exec('ip', ['netns', 'pids', `${card.namespacePrefix}${vpc}`]);
    for (const pid of stdout.split('\n').filter((line) => line !== '')) {
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
      if (new RegExp(`^Uid:\\t${uid}\\t`, 'm').test(status)) return Number(pid);
    }
    return undefined;
  };
  const answers = (vm: LabVm) =>
    vm.run(`curl -s -m 2 -o /dev/null -w '%{http_code}' ${service}/latest/meta-data/`);

  it('are parsed by a process of a user of its own, without capabilities, that can get none', async () => {
    const pid = await helper();
    assert.ok(pid !== undefined);
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    for (const each of ['Inh', 'Prm', 'Eff', 'Amb'])
      assert.match(status, new RegExp(`^Cap${each}:\\t0+$`, 'm'));
    assert.match(status, /^NoNewPrivs:\t1$/m);
    assert.match(status, /^Groups:\t\s*$/m);
    assert.notEqual(await helper('vpc-2', guestServicesUidBase + otherVni), pid, 'each VPC has its own');
    // Its memory and its file descriptors are nobody's: the card's process holds neither socket.
    const listeners = await inVpc('ss -Hlntup');
    assert.match(listeners, new RegExp(`:80 .*pid=${pid},`));
    assert.match(listeners, new RegExp(`:67 .*pid=${pid},`));
    assert.equal(listeners.match(/pid=/g)?.length, 2);
  });

  it('tell the card whom they have heard, and in what', async () => {
    const heard = async (vm: LabVm) =>
      (await card.client.call('card.heard', {})).ports.find(({ eniId }) => eniId === vm.port.eniId);
    const before = await heard(b);
    assert.deepEqual([before?.dhcpMs, before?.metadataMs], [undefined, undefined]);
    await answers(b);
    await eventually(
      () => heard(b),
      (port) => port?.metadataMs !== undefined,
    );
    assert.equal((await heard(b))?.dhcpMs, undefined);
    await b.run(`${process.execPath} -e "${discover(b.port.mac)}"`);
    await eventually(
      () => heard(b),
      (port) => port?.dhcpMs !== undefined && port.dhcpMs <= port.listenedMs,
    );
    assert.equal((await heard(c))?.dhcpMs, undefined, 'of others nothing');
    await card.client.call('card.heard', { probe: [c.port.eniId] });
    await eventually(
      () => heard(c),
      (port) => port?.arpMs !== undefined,
    );
    const entries = await exec('ip', ['-n', `${card.namespacePrefix}vpc-2`, 'neigh', 'show', c.port.ip]);
    await eventually(
      async () =>
        (await exec('ip', ['-n', `${card.namespacePrefix}vpc-2`, 'neigh', 'show', c.port.ip])).stdout,
      (text) => text.includes('PERMANENT'),
    );
    assert.match(entries.stdout, new RegExp(c.port.mac), 'its entry was never gone');
  });

  it('lose no packet of a guest that is asked over ARP and does not answer', async () => {
    // It asks for others, and answers nobody.
    await b.run('echo 8 >/proc/sys/net/ipv4/conf/eth0/arp_ignore');
    const pings = a.run('ping -i 0.02 -c 330 -W 1 10.0.0.11', 30_000);
    for (let n = 0; n < 8; n++) {
      await card.client.call('card.heard', { probe: [b.port.eniId] });
      await new Promise((resolve) => setTimeout(resolve, 800));
    }
    assert.match((await pings).out, / 0% packet loss/);
    const { ports } = await card.client.call('card.heard', {});
    assert.equal(ports.find(({ eniId }) => eniId === b.port.eniId)?.arpMs, undefined);
    await b.run('echo 0 >/proc/sys/net/ipv4/conf/eth0/arp_ignore');
  });

  it('come back when their process is killed: traffic flows on, tokens stay good', async () => {
    const { out: kept } = await a.run(token);
    const pings = a.run('ping -i 0.02 -c 100 -W 1 10.0.0.11', 30_000);
    const pid = await helper();
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    await eventually(
      () =>
        a.run(`curl -s -m 2 -H 'X-aws-ec2-metadata-token: ${kept}' ${service}/latest/meta-data/instance-id`),
      ({ out }) => out === 'i-10',
    );
    assert.notEqual(await helper(), pid);
    assert.match((await pings).out, / 0% packet loss/);
  });

  it('give a VM that keeps connections open, or sends too much, only its share', async () => {
    const attacker = a.start(process.execPath, ['-e', slow]);
    let open = 0;
    let most = 0;
    attacker.stdout?.on('data', (chunk: Buffer) => {
      open = Number(/open (\d+)\n$/.exec(String(chunk))?.[1] ?? open);
      most = Math.max(most, open);
    });
    await eventually(
      async () => open,
      (now) => now === metadataConnectionsPerVmMax,
    );
    assert.equal((await answers(b)).out, '401', 'another VM is answered');
    await lab.end(attacker, 'SIGKILL');
    const huge = `head -c 40000 /dev/zero | tr '\\0' x`;
    const header = await a.run(
      `curl -s -m 5 -o /dev/null -w '%{http_code}' -H "X-Big: $(${huge})" ${service}/`,
    );
    assert.equal(header.out, '000', 'a header that is too large ends the connection');
    await a.run(
      `head -c 3000000 /dev/zero | curl -s -m 5 -o /dev/null -X PUT --data-binary @- ${service}/latest/api/token`,
    );
    await eventually(
      () => answers(a),
      ({ out }) => out === '401',
    );
  });

  it('limit the packets of each tap in the kernel, so that a flood delays no change and no migration of another', async (t) => {
    let version = 1;
    /** A rule change in another VPC, and a redirection of its port, as a migration makes it. */
    const changes = async (): Promise<{ rule: number; move: number }> => {
      version += 1;
      const ingress = [{ protocol: '6', fromPort: 1, toPort: version, cidr: '0.0.0.0/0' }];
      const state = vpcOf('vpc-2', otherVni, version, [c.port], {
        groups: [{ groupId: 'sg-open', ingress, egress: [{ protocol: '-1', cidr: '0.0.0.0/0' }] }],
      });
      const began = performance.now();
      await card.client.call('card.applyVpc', { state });
      const ruled = performance.now();
      const to = { ip: other.vtep, port: 4789 };
      await card.client.call('card.redirectPort', { eniId: c.port.eniId, to });
      const moved = performance.now();
      await card.client.call('card.redirectPort', { eniId: c.port.eniId });
      return { rule: ruled - began, move: moved - ruled };
    };
    const measure = async () => {
      const all: Awaited<ReturnType<typeof changes>>[] = [];
      for (let at = 0; at < 25; at++) all.push(await changes());
      const median = (of: 'rule' | 'move'): number =>
        all.map((each) => each[of]).sort((x, y) => x - y)[12] ?? Number.NaN;
      return { rule: median('rule'), move: median('move') };
    };
    const datagrams = async (): Promise<number> => {
      const [, values = ''] = (await inVpc('cat /proc/net/snmp'))
        .split('\n')
        .filter((line) => line.startsWith('Udp:'));
      const [, arrived, noPort, errors] = values.split(' ').map(Number);
      return (arrived ?? 0) + (noPort ?? 0) + (errors ?? 0);
    };
    const sentBy = async (): Promise<number> =>
      Number(new RegExp(`${a.tap}:\\s+\\d+\\s+(\\d+)`).exec(await inVpc('cat /proc/net/dev'))?.[1]);
    await measure();
    const quiet = await measure();
    const attacker = a.start(process.execPath, ['-e', flood]);
    const counted = await datagrams();
    const began = performance.now();
    const flooded = await measure();
    const seconds = (performance.now() - began) / 1_000;
    const arrived = (await datagrams()) - counted;
    const sent = await sentBy();
    await lab.end(attacker, 'SIGKILL');
    const figures = [quiet, flooded].map(({ rule, move }) => `${rule.toFixed(1)} ms, ${move.toFixed(1)} ms`);
    t.diagnostic(
      `rule change, redirection: ${figures[0]} at rest; ${figures[1]} under a flood of which ${(arrived / seconds).toFixed(0)}/s got through (${sent} frames sent)`,
    );
    assert.ok(arrived <= linkLocalPacketsPerS * (seconds + 2), `${arrived} in ${seconds} s`);
    // The flood takes a processor of two by itself: what is left is that nothing waits for it.
    assert.ok(flooded.rule < 4 * quiet.rule + 10, 'a rule change of another is not delayed');
    assert.ok(flooded.move < 4 * quiet.move + 10, 'a migration of another is not delayed');
    assert.equal((await answers(b)).out, '401', 'a neighbour is answered');
  });
});
