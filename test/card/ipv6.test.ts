/** No packet of IPv6 passes from or to a guest, whatever its groups allow: rules of IPv6 are kept by the region and need no card. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { after, before, describe, it } from 'node:test';
import { exec } from '#base/exec.ts';
import { overlayDevice, vxlanPort } from '#card/limits.ts';
import type { VpcState } from '#contracts/network.ts';
import { attach, eventually, Lab, type LabCard, type LabVm, portOf, vpcOf } from './lab.ts';

const vni = 101;

/** Counts what comes in at a device, by family, before anything else sees it. */
const counting = (device: string): string => `nft -f - <<'END-OF-TABLE'
table netdev seen {
  chain in {
    type filter hook ingress device "${device}" priority -500; policy accept;
    meta protocol ip6 counter
    meta protocol ip counter
  }
}
END-OF-TABLE
`;

const seenIn = async (netns: string): Promise<{ ip6: number; ip: number }> => {
  const list = ['nft', 'list', 'table', 'netdev', 'seen'];
  const { stdout } = await exec('nsenter', [`--net=/run/netns/${netns}`, ...list]);
  const count = (family: string) =>
    Number(new RegExp(`protocol ${family} counter packets (\\d+)`).exec(stdout)?.[1] ?? Number.NaN);
  return { ip6: count('ip6'), ip: count('ip') };
};

/** An Ethernet frame in a VXLAN datagram, as another card would send it. */
const overlayDatagram = (from: string, to: string, type: number, packet: Buffer): Buffer => {
  const header = Buffer.alloc(8);
  header[0] = 0x08;
  header.writeUInt32BE(vni << 8, 4);
  const mac = (text: string) => Buffer.from(text.replaceAll(':', ''), 'hex');
  return Buffer.concat([header, mac(to), mac(from), Buffer.from([type >> 8, type & 255]), packet]);
};

/** An ICMPv6 echo request fd00::10 → fd00::11. Its checksum is not right: nothing that counts here looks at it. */
const echo6 = (): Buffer => {
  const packet = Buffer.alloc(48);
  packet.set([0x60, 0, 0, 0, 0, 8, 58, 64]);
  packet.set([0xfd], 8);
  packet.set([0x10], 23);
  packet.set([0xfd], 24);
  packet.set([0x11], 39);
  packet.set([128], 40);
  return packet;
};

/** A UDP datagram of IPv4, without a checksum of its own. */
const datagram4 = (from: string, to: string): Buffer => {
  const packet = Buffer.alloc(28);
  packet.set([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17]);
  packet.set(from.split('.').map(Number), 12);
  packet.set(to.split('.').map(Number), 16);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += packet.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet.writeUInt16BE(~sum & 0xffff, 10);
  packet.writeUInt16BE(4_000, 20);
  packet.writeUInt16BE(4_001, 22);
  packet.writeUInt16BE(8, 24);
  return packet;
};

describe('IPv6 on cards', () => {
  let lab: Lab;
  let cards: LabCard[];
  let a: LabVm;
  let b: LabVm;
  let c: LabVm;
  const vpcNamespace = (card: LabCard): string => `${card.namespacePrefix}vpc-1`;

  before(async () => {
    lab = await Lab.create();
    const [one, two] = [await lab.card('c1'), await lab.card('c2')];
    cards = [one, two];
    // One that may send from any address: the check of its packets is that of the MAC alone.
    a = await lab.vm('a', one, portOf(10, one.vtep, { sourceDestCheck: false }));
    b = await lab.vm('b', two, portOf(11, two.vtep));
    c = await lab.vm('c', one, portOf(12, one.vtep));
    const any = [
      { protocol: '-1', cidr: '::/0' },
      { protocol: '-1', cidr: '0.0.0.0/0' },
      { protocol: '58', cidr: '::/0' },
    ];
    const open: Partial<VpcState> = { groups: [{ groupId: 'sg-open', ingress: any, egress: any }] };
    const state = vpcOf('vpc-1', vni, 1, [a.port, b.port, c.port], open);
    for (const card of cards) await card.client.call('card.applyVpc', { state });
    for (const [card, vm] of [
      [one, a],
      [two, b],
      [one, c],
    ] as const)
      await attach(card, 'vpc-1', vm);
    for (const vm of [a, b, c]) {
      const made = await vm.run(`sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0
ip -6 addr add fd00::${vm.port.ip.split('.')[3]}/64 dev eth0 nodad
${counting('eth0')}`);
      assert.ok(made.ok, made.out);
    }
    for (const card of cards) {
      const at = `--net=/run/netns/${vpcNamespace(card)}`;
      await exec('nsenter', [at, 'sh', '-e', '-s'], { input: counting(overlayDevice) });
    }
  });
  after(() => lab[Symbol.asyncDispose]());

  const sent6 = async (vm: LabVm): Promise<number> =>
    Number(/Ip6OutRequests\s+(\d+)/.exec((await vm.run('cat /proc/net/snmp6')).out)?.[1] ?? Number.NaN);

  /** What each place has seen. */
  const seen = async () => ({
    overlay: await Promise.all(cards.map((card) => seenIn(vpcNamespace(card)))),
    guests: await Promise.all([b, c].map((vm) => seenIn(vm.netns))),
  });

  it('a guest that speaks IPv6 is heard by nobody, though every group of both lets all through', async () => {
    assert.ok((await a.run('ping -c 1 -W 2 10.0.0.11 && ping -c 1 -W 2 10.0.0.12')).ok, 'IPv4 passes');
    const router = /lladdr (\S+)/.exec((await a.run('ping -c 1 -W 2 10.0.0.1; ip neigh')).out)?.[1];
    assert.ok(router !== undefined);
    const neighbours = [
      `fd00::11 lladdr ${b.port.mac}`,
      `fd00::12 lladdr ${c.port.mac}`,
      // What is sent to the tap itself would be routed on.
      `fd00::1 lladdr ${router}`,
      `fd00::1:11 lladdr ${router}`,
      `fd00::1:12 lladdr ${router}`,
    ];
    const from = await sent6(a);
    await a.run(`${neighbours.map((each) => `ip -6 neigh replace ${each} dev eth0 nud permanent`).join('\n')}
ip -6 route replace default via fd00::1
for to in fd00::11 fd00::12 fd00::1 fd00::1:11 fd00::1:12 2001:db8::1 ff02::1%eth0 ff02::2%eth0 fd00:ec2::254; do
  ping -6 -c 1 -W 1 $to
  echo hello | socat -u - UDP6-SENDTO:[$to]:4001
done`);
    assert.ok((await sent6(a)) - from >= 14, 'it has sent them');
    const { overlay, guests } = await seen();
    assert.deepEqual(
      [...overlay, ...guests].map(({ ip6 }) => ip6),
      [0, 0, 0, 0],
      'neither a guest beside it, nor one of another card, nor the way between them',
    );
    for (const { ip } of guests) assert.ok(ip > 0, 'what counts them does count');
  });

  it('a packet of IPv6 that comes over the overlay reaches no guest', async () => {
    const [, two] = cards;
    assert.ok(two !== undefined);
    const before = await seen();
    const socket = createSocket('udp4');
    const send = (type: number, packet: Buffer) =>
      new Promise<void>((resolve, reject) => {
        const datagram = overlayDatagram(a.port.mac, b.port.mac, type, packet);
        socket.send(datagram, vxlanPort, two.vtep, (error) => (error ? reject(error) : resolve()));
      });
    try {
      for (let n = 0; n < 5; n++) await send(0x86dd, echo6());
      await send(0x0800, datagram4(a.port.ip, b.port.ip));
    } finally {
      socket.close();
    }
    // The last one passes: those before it have had their turn.
    await eventually(
      () => seenIn(b.netns),
      ({ ip }) => ip > (before.guests[0]?.ip ?? Number.NaN),
    );
    assert.equal((await seenIn(vpcNamespace(two))).ip6 - (before.overlay[1]?.ip6 ?? Number.NaN), 5);
    assert.equal((await seenIn(b.netns)).ip6, 0);
  });

  it('nothing of the card itself speaks IPv6 to a guest, also not to one that asks for a router', async () => {
    await b.run('ip link set eth0 down; ip link set eth0 up; ping -6 -c 2 -W 1 ff02::2%eth0');
    assert.equal((await seenIn(b.netns)).ip6, 0, 'no advertisement, no answer');
    for (const card of cards) {
      const list = ['ip', '-6', 'addr', 'show'];
      const { stdout } = await exec('nsenter', [`--net=/run/netns/${vpcNamespace(card)}`, ...list]);
      assert.doesNotMatch(stdout.replaceAll('inet6 ::1/128', ''), /inet6/);
    }
  });
});
