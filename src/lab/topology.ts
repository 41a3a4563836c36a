/**
 * The lab's wiring: every host a network namespace, its card a second one, joined by a fabric namespace that holds the two
 * switches (management, underlay).
 *
 *   machine ─ <p>-mgmt ─┬─ br-mgmt ─ mgmt0 of each host and of the gateway
 *   <p>-fab             └─ br-ul ─── ul0 of each card and of the gateway
 *   machine ─ <p>-up ───── up0 of the gateway           host: card0 ─── host0 :card
 *
 * Bringing up what stands already changes nothing; every namespace is filled by one batch.
 */
import { access, readdir } from 'node:fs/promises';
import { exec } from '#base/exec.ts';
import { hostCardLink, type LabPlan, type PlannedHost, underlayMtu } from './plan.ts';

const netnsDirectory = '/run/netns';
/** Bytes that the packet queue's socket may hold; a child namespace cannot raise it, so it is set on the machine. */
export const receiveBufferBytesMin = 16 * 1024 * 1024;

type Log = (line: string) => void;

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

const ipBatch = (netns: string | undefined, lines: readonly string[]): Promise<unknown> =>
  exec('ip', [...(netns === undefined ? [] : ['-n', netns]), '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
  });

/** Names of the links of a namespace (root's when undefined). */
export async function linksOf(netns?: string): Promise<Set<string>> {
  const { stdout } = await exec('ip', [
    ...(netns === undefined ? [] : ['-n', netns]),
    '-json',
    'link',
    'show',
  ]);
  const links = JSON.parse(stdout) as { ifname: string }[];
  return new Set(links.map((link) => link.ifname));
}

/** Namespaces of this machine whose name starts with `prefix` and a dash. */
export async function namespacesOf(prefix: string): Promise<string[]> {
  const names = await readdir(netnsDirectory).catch(() => []);
  return names.filter((name) => name.startsWith(`${prefix}-`)).sort();
}

async function ensureNamespace(name: string): Promise<void> {
  if (await exists(`${netnsDirectory}/${name}`)) {
    // A reboot or a lost mount leaves the name as a plain file: such a namespace cannot be entered.
    const works = await exec('ip', ['-n', name, 'link', 'show', 'lo']).then(
      () => true,
      () => false,
    );
    if (works) return;
    await exec('ip', ['netns', 'delete', name]);
  }
  await exec('ip', ['netns', 'add', name]);
}

/** A MAC of our own range by place, so that nothing depends on what the kernel draws. */
const mac = (plan: LabPlan, network: number, member: number): string =>
  ['02', '50', plan.index, network, member >> 8, member & 0xff]
    .map((byte) => (typeof byte === 'string' ? byte : byte.toString(16).padStart(2, '0')))
    .join(':');

async function ensureFabric(plan: LabPlan): Promise<void> {
  await ensureNamespace(plan.fabricNetns);
  const present = await linksOf(plan.fabricNetns);
  const lines = ['link set lo up'];
  for (const [at, bridge] of ['br-mgmt', 'br-ul'].entries()) {
    if (present.has(bridge)) continue;
    // The address is set first: one that changes when a port joins would flush permanent neighbours.
    lines.push(
      `link add ${bridge} address ${mac(plan, at, 0xfffe)} mtu ${underlayMtu} type bridge stp_state 0 forward_delay 0`,
    );
    lines.push(`link set ${bridge} up`);
  }
  await ipBatch(plan.fabricNetns, lines);
  if (!(await linksOf()).has(plan.managementLink)) {
    if (present.has('mgmt-root')) await exec('ip', ['-n', plan.fabricNetns, 'link', 'delete', 'mgmt-root']);
    await ipBatch(undefined, [
      `link add ${plan.managementLink} type veth peer name mgmt-root netns ${plan.fabricNetns}`,
      `address add ${plan.management}/24 dev ${plan.managementLink}`,
      `link set ${plan.managementLink} up`,
    ]);
    await ipBatch(plan.fabricNetns, ['link set mgmt-root master br-mgmt', 'link set mgmt-root up']);
  }
}

interface Port {
  readonly netns: string;
  readonly name: string;
  readonly address: string;
  readonly bridge: 'br-mgmt' | 'br-ul';
  /** Name of the switch's end inside the fabric's namespace. */
  readonly switchPort: string;
  readonly mac: string;
}

const portLines = (port: Port, fabric: string): string[] => {
  const mtu = port.bridge === 'br-ul' ? underlayMtu : 1500;
  return [
    `link add ${port.name} address ${port.mac} mtu ${mtu} type veth peer name ${port.switchPort} mtu ${mtu} netns ${fabric}`,
    `address add ${port.address}/24 dev ${port.name}`,
    `link set ${port.name} up`,
  ];
};

async function ensurePorts(
  plan: LabPlan,
  netns: string,
  ports: readonly Port[],
  extra: readonly string[],
): Promise<boolean> {
  await ensureNamespace(netns);
  const [present, fabric] = await Promise.all([linksOf(netns), linksOf(plan.fabricNetns)]);
  const missing = ports.filter((port) => !present.has(port.name) || !fabric.has(port.switchPort));
  if (missing.length === 0 && extra.length === 0) return false;
  const stale = missing.filter((port) => present.has(port.name)).map((port) => `link delete ${port.name}`);
  await ipBatch(netns, [
    'link set lo up',
    ...stale,
    ...missing.flatMap((port) => portLines(port, plan.fabricNetns)),
    ...extra,
  ]);
  await ipBatch(
    plan.fabricNetns,
    missing.flatMap((port) => [
      `link set ${port.switchPort} master ${port.bridge}`,
      `link set ${port.switchPort} up`,
    ]),
  );
  await Promise.all(
    missing.filter((port) => port.bridge === 'br-ul').map((port) => filledChecksums(netns, port.name)),
  );
  return missing.length > 0;
}

/** Without this the checksum inside a datagram stays unfilled for a socket in user space, and queued TCP would be dropped. */
const filledChecksums = (netns: string, link: string): Promise<unknown> =>
  exec('ip', [
    'netns',
    'exec',
    netns,
    'ethtool',
    '-K',
    link,
    'tx',
    'off',
    'tso',
    'off',
    'gso',
    'off',
    'gro',
    'off',
  ]);

async function ensureHost(plan: LabPlan, host: PlannedHost): Promise<void> {
  await ensurePorts(plan, host.cardNetns, [underlayPort(plan, host.cardNetns, host.number, host.vtep)], []);
  const management = managementPort(plan, host.hostNetns, host.number, host.management);
  await ensureNamespace(host.hostNetns);
  const linked = (await linksOf(host.hostNetns)).has('card0');
  const link = [
    `link add card0 type veth peer name host0 netns ${host.cardNetns}`,
    `address add ${hostCardLink.host}/${hostCardLink.bits} dev card0`,
    'link set card0 up',
  ];
  await ensurePorts(plan, host.hostNetns, [management], linked ? [] : link);
  if (!linked)
    await ipBatch(host.cardNetns, [
      `address add ${hostCardLink.card}/${hostCardLink.bits} dev host0`,
      'link set host0 up',
    ]);
}

const managementPort = (plan: LabPlan, netns: string, member: number, address: string): Port => ({
  netns,
  name: 'mgmt0',
  address,
  bridge: 'br-mgmt',
  switchPort: `m-${member}`,
  mac: mac(plan, 0, member),
});

const underlayPort = (plan: LabPlan, netns: string, member: number, address: string): Port => ({
  netns,
  name: 'ul0',
  address,
  bridge: 'br-ul',
  switchPort: `u-${member}`,
  mac: mac(plan, 1, member),
});

async function ensureGateway(plan: LabPlan): Promise<void> {
  const netns = plan.gatewayNetns;
  const ports = [
    managementPort(plan, netns, 0, plan.gatewayManagement),
    underlayPort(plan, netns, 0, plan.gatewayVtep),
  ];
  await ensurePorts(plan, netns, ports, []);
  const [root, inside] = await Promise.all([linksOf(), linksOf(netns)]);
  if (root.has(plan.uplinkLink) && inside.has('up0')) return;
  if (inside.has('up0')) await exec('ip', ['-n', netns, 'link', 'delete', 'up0']);
  await ipBatch(undefined, [
    `link add ${plan.uplinkLink} type veth peer name up0 netns ${netns}`,
    `address add ${plan.uplink}/30 dev ${plan.uplinkLink}`,
    `link set ${plan.uplinkLink} up`,
    `route replace ${plan.publicCidr} via ${plan.gatewayUplink}`,
  ]);
  await ipBatch(netns, [
    `address add ${plan.gatewayUplink}/30 dev up0`,
    'link set up0 up',
    `route replace default via ${plan.uplink}`,
  ]);
}

async function ensureReceiveBuffers(log: Log): Promise<void> {
  const { stdout } = await exec('sysctl', ['-n', 'net.core.rmem_max']);
  if (Number(stdout) >= receiveBufferBytesMin) return;
  log(`net.core.rmem_max: ${stdout.trim()} → ${receiveBufferBytesMin}`);
  await exec('sysctl', ['-q', '-w', `net.core.rmem_max=${receiveBufferBytesMin}`]);
}

/** Makes what is missing of the run's namespaces, switches and links. */
export async function ensureTopology(plan: LabPlan, log: Log): Promise<void> {
  await ensureReceiveBuffers(log);
  await ensureFabric(plan);
  await ensureGateway(plan);
  for (const host of plan.hosts) await ensureHost(plan, host);
}

/** What of a run's wiring is there: namespaces, and links of the machine itself. Empty after `removeTopology`. */
export async function topologyLeft(prefix: string): Promise<string[]> {
  const [namespaces, links] = await Promise.all([namespacesOf(prefix), linksOf()]);
  return [...namespaces, ...[...links].filter((link) => link.startsWith(`${prefix}-`))];
}

/** Removes every namespace and link whose name starts with the run's prefix, also of a run that came up by half. */
export async function removeTopology(prefix: string): Promise<void> {
  for (const link of await linksOf()) {
    // Deleting the namespace at the other end may have taken it along meanwhile.
    if (link.startsWith(`${prefix}-`)) await exec('ip', ['link', 'delete', link], { allow: [1] });
  }
  for (const name of await namespacesOf(prefix)) await exec('ip', ['netns', 'delete', name]);
}
