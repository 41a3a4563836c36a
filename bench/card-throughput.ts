/**
 * TCP from VM to VM over two cards, against a bare VXLAN between two namespaces on the same underlay, in turns in one run.
 * Prints Gbit/s, CPU seconds of the whole machine for each, and the ratio. `node bench/card-throughput.ts [seconds] [rounds]`
 */
import { readFile } from 'node:fs/promises';
import { exec } from '#base/exec.ts';
import { attach, eventually, Lab, portOf, vpcOf } from '../test/card/lab.ts';

const seconds = Number(process.argv[2] ?? 4);
const rounds = Number(process.argv[3] ?? 3);
const ticksPerSecond = 100;

/** CPU seconds that the machine has spent on anything but idling. */
const busySeconds = async (): Promise<number> => {
  const fields =
    (await readFile('/proc/stat', 'utf8')).split('\n')[0]?.trim().split(/\s+/).slice(1).map(Number) ?? [];
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields;
  return (user + nice + system + irq + softirq) / ticksPerSecond;
};

interface Run {
  readonly gbps: number;
  readonly cpuSeconds: number;
}

const measure = async (netns: string, ip: string): Promise<Run> => {
  const before = await busySeconds();
  const { stdout } = await exec(
    'nsenter',
    [`--net=/run/netns/${netns}`, 'iperf3', '-J', '-c', ip, '-t', String(seconds)],
    { timeoutMs: (seconds + 20) * 1000 },
  );
  const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  return { gbps: report.end.sum_received.bits_per_second / 1e9, cpuSeconds: (await busySeconds()) - before };
};

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

const lab = await Lab.create();
try {
  const [one, two] = [await lab.card('c1'), await lab.card('c2')];
  const a = await lab.vm('a', one, portOf(10, one.vtep));
  const b = await lab.vm('b', two, portOf(11, two.vtep));
  const state = vpcOf('vpc-1', 600, 1, [a.port, b.port]);
  for (const card of [one, two]) await card.client.call('card.applyVpc', { state });
  await attach(one, 'vpc-1', a);
  await attach(two, 'vpc-1', b);

  // The baseline's ends are a routed veth pair away from the tunnel too, as a VM's are: what differs is what a card adds.
  const ends = [await lab.node('p1'), await lab.node('p2')];
  for (const [at, end] of ends.entries()) {
    const inner = await lab.namespace(`plain${at}`);
    const remote = ends[1 - at]?.ip;
    await exec('sh', ['-e', '-s'], {
      input: `ip -n ${end.netns} link add name vx type vxlan id 601 dstport 4789 local ${end.ip} remote ${remote} noudpcsum
ip -n ${end.netns} link set vx mtu 1400 up
ip -n ${end.netns} addr add 192.168.77.${at + 1}/24 dev vx
ip link add name eth0 netns ${inner} mtu 1400 type veth peer name tap netns ${end.netns}
ip -n ${end.netns} addr add 192.168.${78 + at}.1/24 dev tap
ip -n ${end.netns} link set tap mtu 1400 up
ip -n ${inner} addr add 192.168.${78 + at}.2/24 dev eth0
ip -n ${inner} link set eth0 up
ip -n ${inner} route add default via 192.168.${78 + at}.1
ip -n ${end.netns} route add 192.168.${79 - at}.0/24 via 192.168.77.${2 - at}
nsenter --net=/run/netns/${end.netns} sysctl -qw net.ipv4.ip_forward=1
`,
    });
  }
  const pairs = [
    { name: 'plain', from: `${lab.prefix}-plain0`, server: `${lab.prefix}-plain1`, ip: '192.168.79.2' },
    { name: 'card', from: a.netns, server: b.netns, ip: '10.0.0.11' },
  ] as const;
  const results: Record<(typeof pairs)[number]['name'], Run[]> = { plain: [], card: [] };
  for (const { server, from, ip } of pairs) {
    lab.spawnIn(server, 'iperf3', ['-s']);
    const probe = ['-c', `exec 3<>/dev/tcp/${ip}/5201`];
    await eventually(
      () => exec('nsenter', [`--net=/run/netns/${from}`, 'bash', ...probe], { allow: [1] }),
      ({ exitCode }) => exitCode === 0,
    );
  }
  for (let round = 0; round < rounds; round += 1)
    for (const { name, from, ip } of pairs) results[name].push(await measure(from, ip));
  for (const { name } of pairs)
    console.log(
      `${name.padEnd(6)} ${results[name].map(({ gbps }) => gbps.toFixed(2)).join(' ')} Gbit/s   CPU ${results[name].map(({ cpuSeconds }) => cpuSeconds.toFixed(1)).join(' ')} s`,
    );
  const of = (name: 'plain' | 'card', key: keyof Run): number => median(results[name].map((run) => run[key]));
  console.log(`throughput ratio card/plain ${(of('card', 'gbps') / of('plain', 'gbps')).toFixed(3)}`);
  const perGbit = (name: 'plain' | 'card'): number => of(name, 'cpuSeconds') / of(name, 'gbps') / seconds;
  console.log(`CPU per Gbit: card ${perGbit('card').toFixed(3)} s, plain ${perGbit('plain').toFixed(3)} s`);
} finally {
  await lab[Symbol.asyncDispose]();
}
