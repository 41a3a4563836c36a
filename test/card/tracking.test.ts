/** Connections to whoever had an address before do not lead to whoever has it now. On real packets, TCP and UDP. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import type { VpcPort } from '#contracts/network.ts';
import { attach, eventually, Lab, type LabCard, type LabVm, portOf, vpcOf } from './lab.ts';

const address = '10.0.0.10';
const open = [{ protocol: '-1', cidr: '0.0.0.0/0' }];
const groupsOf = (ingress: typeof open) => [
  { groupId: 'sg-open', ingress: open, egress: open },
  { groupId: 'sg-closed', ingress: [], egress: open },
  { groupId: 'sg-changing', ingress, egress: open },
];

/** Keeps one TCP connection to the address and sends on it all the time; says how many answers came. */
const tcpClient = `
  const s = require('node:net').connect({ host: '${address}', port: 8000 });
  s.on('error', () => {}); s.on('data', () => process.stdout.write('.'));
  setInterval(() => s.write('x'), 50);`;

/** Echoes, by both protocols; one process, so that nothing of it outlives its end. */
const echoes = `
  require('node:net').createServer((s) => { s.on('error', () => {}); s.pipe(s); }).listen(8000);
  const u = require('node:dgram').createSocket('udp4');
  u.on('message', (m, from) => u.send(m, from.port, from.address)); u.bind(5000);`;

/** What a VM receives from and sends to each other, counted in its own namespace before anything else sees it. */
const counters = `nft -f - <<'END'
table inet seen {
  set heard { type ipv4_addr; flags dynamic; counter; size 64; }
  set sent { type ipv4_addr; flags dynamic; counter; size 64; }
  chain arriving { type filter hook input priority -300; meta l4proto { tcp, udp } update @heard { ip saddr }; }
  chain leaving { type filter hook output priority 300; meta l4proto tcp update @sent { ip daddr }; }
}
END
`;

describe('connection tracking of an address that changes hands', () => {
  let lab: Lab;
  let one: LabCard;
  let two: LabCard;
  /** On the first card and on the second; neither lets anything in that it did not ask for. */
  let peers: LabVm[];
  let version = 0;
  let ports: VpcPort[] = [];
  let changing = open;
  let nextMac = 0x50;
  const holders: string[] = [];
  const clients: (() => Promise<void>)[] = [];

  before(async () => {
    lab = await Lab.create();
    [one, two] = await Promise.all([lab.card('c1'), lab.card('c2')]);
    const closed = { groupIds: ['sg-closed'] };
    peers = [
      await lab.vm('near', one, portOf(11, one.vtep, closed)),
      await lab.vm('far', two, portOf(12, two.vtep, closed)),
    ];
    ports = peers.map(({ port }) => port);
    await declare(undefined);
    for (const [at, card] of [one, two].entries()) {
      const peer = peers[at];
      assert.ok(peer);
      await attach(card, 'vpc-1', peer);
      assert.equal((await peer.run(counters)).out, '');
    }
  });
  after(() => lab[Symbol.asyncDispose]());

  const declare = async (holder: VpcPort | undefined, cards = [one, two]): Promise<void> => {
    version += 1;
    const all = holder === undefined ? ports : [...ports, holder];
    const state = vpcOf('vpc-1', 700, version, all, { groups: groupsOf(changing) });
    for (const card of cards) await card.client.call('card.applyVpc', { state });
  };
  const holderOf = async (name: string, card: LabCard, group: string): Promise<LabVm> => {
    const mac = `02:00:00:00:01:${(nextMac++).toString(16)}`;
    const port = portOf(10, card.vtep, { eniId: `eni-${name}`, mac, groupIds: [group] });
    const vm = await lab.vm(name, card, port);
    holders.push(port.eniId);
    assert.equal((await vm.run(counters)).out, '');
    return vm;
  };
  /** The first holder answers; the next one has its ports free to send from. */
  const speaking = async (name: string, group: string): Promise<LabVm> => {
    const vm = await holderOf(name, one, group);
    vm.start(process.execPath, ['-e', echoes]);
    return vm;
  };
  const settle = async (vm: LabVm, card: LabCard): Promise<void> => {
    await declare(vm.port);
    await attach(card, 'vpc-1', vm);
  };

  const udp = (peer: LabVm, wait = 2, from = 4000) =>
    peer.run(`echo hello | socat -t ${wait} - UDP:${address}:5000,sourceport=${from}`);
  /** Every peer has a conversation with the holder of the address, by both protocols. */
  const converse = async (): Promise<(() => number)[]> => {
    const answers: (() => number)[] = [];
    for (const peer of peers) {
      for (const from of [4000, 4002])
        await eventually(
          () => udp(peer, 1, from),
          ({ out }) => out.includes('hello'),
        );
      const client = peer.start(process.execPath, ['-e', tcpClient]);
      let count = 0;
      client.stdout?.on('data', (chunk: Buffer) => {
        count += chunk.length;
      });
      clients.push(() => lab.end(client, 'SIGKILL'));
      answers.push(() => count);
      await eventually(
        async () => count,
        (value) => value > 2,
      );
    }
    return answers;
  };
  const goesOn = async (answers: (() => number)[]): Promise<void> => {
    for (const [at, peer] of peers.entries()) {
      assert.match((await udp(peer)).out, /hello/, `UDP of ${peer.tap}`);
      const before = answers[at]?.() ?? 0;
      await eventually(
        async () => answers[at]?.() ?? 0,
        (value) => value > before + 2,
      );
    }
  };
  const counted = async (vm: LabVm, set: 'heard' | 'sent', ip: string): Promise<number> => {
    const { out } = await vm.run(`nft list set inet seen ${set}`);
    return Number(new RegExp(`${ip.replaceAll('.', '\\.')} counter packets (\\d+)`).exec(out)?.[1] ?? 0);
  };

  /** Neither direction of the old conversations leads to or from the new holder, while the peers go on sending. */
  const isClosed = async (next: LabVm): Promise<void> => {
    for (const peer of peers) {
      const heard = await counted(peer, 'heard', address);
      const sent = await counted(peer, 'sent', address);
      // By another conversation than the next probe: what either sends anew begins a flow of its own on its own card.
      await next.run(`echo spoof | socat -t 0.1 - UDP:${peer.port.ip}:4002,sourceport=5000`);
      assert.equal(await counted(peer, 'heard', address), heard, `the new holder → ${peer.tap}`);
      await udp(peer, 0.2);
      await eventually(
        () => counted(peer, 'sent', address),
        (value) => value > sent,
        30_000,
      );
      assert.equal(await counted(next, 'heard', peer.port.ip), 0, `${peer.tap} → the new holder`);
    }
    next.start(process.execPath, ['-e', echoes]);
    // The probe itself is sound: with rules that let it in, it arrives.
    await declare({ ...next.port, groupIds: ['sg-open'] });
    for (const peer of peers)
      await eventually(
        () => udp(peer),
        ({ out }) => out.includes('hello'),
      );
  };
  afterEach(async () => {
    for (const end of clients.splice(0)) await end();
    for (const eniId of holders.splice(0))
      for (const card of [one, two]) await card.client.call('card.detachPort', { eniId });
    changing = open;
    await declare(undefined);
  });

  it('on the same card: nothing of the last holder’s flows passes', async () => {
    const old = await speaking('o1', 'sg-open');
    await settle(old, one);
    await converse();
    await one.client.call('card.detachPort', { eniId: old.port.eniId });
    await declare(undefined);
    const next = await holderOf('n1', one, 'sg-closed');
    await settle(next, one);
    await isClosed(next);
  });

  it('on the other card, without a moment in between at which nobody had it', async () => {
    const old = await speaking('o2', 'sg-open');
    await settle(old, one);
    await converse();
    const next = await holderOf('n2', two, 'sg-closed');
    await settle(next, two);
    await one.client.call('card.detachPort', { eniId: old.port.eniId });
    await isClosed(next);
  });

  it('while the cards were away', async () => {
    const old = await speaking('o3', 'sg-open');
    await settle(old, one);
    const answers = await converse();
    for (const card of [one, two]) {
      await card.stop('SIGKILL');
      await card.start();
    }
    await goesOn(answers);
    for (const card of [one, two]) await card.stop('SIGKILL');
    await exec('ip', ['-n', old.netns, 'link', 'del', 'dev', 'eth0']);
    for (const card of [one, two]) await card.start();
    const next = await holderOf('n3', one, 'sg-closed');
    await settle(next, one);
    await one.client.call('card.detachPort', { eniId: old.port.eniId });
    await isClosed(next);
  });

  it('a rule that goes leaves tracked flows, and they outlive a migration and restarts; the end of the interface ends them', async () => {
    changing = open;
    const vm = await speaking('o4', 'sg-changing');
    const { eniId } = vm.port;
    await settle(vm, one);
    const answers = await converse();
    changing = [];
    await declare(vm.port);
    await goesOn(answers);

    const there = { ...vm, tap: 'tapm4', port: { ...vm.port, vtep: two.vtep, epoch: 2 } };
    await exec('sh', ['-e', '-s'], {
      input: `ip link add name eth1 netns ${vm.netns} address ${vm.port.mac} mtu 1400 type veth peer name tapm4 netns ${two.netns}\n`,
    });
    await attach(two, 'vpc-1', there, false);
    const flows = await one.client.call('card.exportFlows', { eniId });
    assert.ok(flows.flows.length >= 4);
    await two.client.call('card.importFlows', { eniId, ...flows });
    await two.client.call('card.activatePort', { eniId });
    await one.client.call('card.detachPort', { eniId, forwardTo: two.vtep });
    await exec('sh', ['-e', '-s'], {
      input: `ip -n ${vm.netns} link set eth1 up
ip -n ${vm.netns} addr add ${address}/24 dev eth1
ip -n ${vm.netns} route add default via 10.0.0.1
`,
    });
    await declare(there.port);
    await goesOn(answers);
    for (const card of [one, two]) {
      await card.stop('SIGKILL');
      await card.start();
    }
    await goesOn(answers);

    await two.client.call('card.detachPort', { eniId });
    const next = await holderOf('n4', two, 'sg-closed');
    await settle(next, two);
    await isClosed(next);
  });
});
