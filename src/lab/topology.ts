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
import { z } from 'zod';
import { exec } from '#base/exec.ts';
import { raiseMachineSettings } from '#node/machineSettings.ts';
import { deleteLink } from './links.ts';
import { hostCardLink, type LabPlan, type PlannedHost, underlayMtu } from './plan.ts';

const netnsDirectory = '/run/netns';

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

const linkList = z.array(
  z.object({
    ifname: z.string(),
    flags: z.array(z.string()).default([]),
    master: z.string().optional(),
    addr_info: z.array(z.object({ local: z.string().optional() })).default([]),
  }),
);

/** What of a link can be half done: a bring-up that was interrupted leaves links that are there and do nothing. */
interface Link {
  readonly up: boolean;
  readonly master: string | undefined;
  readonly addresses: readonly string[];
}

/** The links of a namespace (root's when undefined), by name. */
async function linkTable(netns?: string): Promise<Map<string, Link>> {
  const { stdout } = await exec('ip', [
    ...(netns === undefined ? [] : ['-n', netns]),
    '-json',
    'address',
    'show',
  ]);
  return new Map(
    linkList.parse(JSON.parse(stdout)).map(({ ifname, flags, master, addr_info }) => [
      ifname,
      {
        up: flags.includes('UP'),
        master,
        addresses: addr_info.flatMap(({ local }) => local ?? []),
      },
    ]),
  );
}

/** Names of the links of a namespace (root's when undefined). */
export const linksOf = async (netns?: string): Promise<Set<string>> =>
  new Set((await linkTable(netns)).keys());

/** Whether a link is there, up and has what it needs. */
const isDone = (link: Link | undefined, needs: { address?: string; master?: string } = {}): boolean =>
  link?.up === true &&
  (needs.master === undefined || link.master === needs.master) &&
  (needs.address === undefined || link.addresses.includes(needs.address));

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
    await deleteNamespace(name);
  }
  await exec('ip', ['netns', 'add', name]);
}

/** Another command may do the same at the same time: what is gone then is no error. */
async function deleteNamespace(name: string): Promise<void> {
  const { exitCode, stderr } = await exec('ip', ['netns', 'delete', name], { allow: [1] });
  if (exitCode !== 0 && (await exists(`${netnsDirectory}/${name}`)))
    throw new Error(`The namespace ${name} was not deleted: ${stderr}`);
}

/** A MAC of our own range by place, so that nothing depends on what the kernel draws. */
const mac = (plan: LabPlan, network: number, member: number): string =>
  ['02', '50', plan.index, network, member >> 8, member & 0xff]
    .map((byte) => (typeof byte === 'string' ? byte : byte.toString(16).padStart(2, '0')))
    .join(':');

const bridges = ['br-mgmt', 'br-ul'] as const;

async function ensureFabric(plan: LabPlan): Promise<void> {
  const { fabricNetns: netns, managementLink } = plan;
  await ensureNamespace(netns);
  const [present, root] = await Promise.all([linkTable(netns), linkTable()]);
  const missing = bridges.flatMap((bridge, at) =>
    isDone(present.get(bridge))
      ? []
      : [
          ...(present.has(bridge) ? [`link delete ${bridge}`] : []),
          // The address is set first: one that changes when a port joins would flush permanent neighbours.
          `link add ${bridge} address ${mac(plan, at, 0xfffe)} mtu ${underlayMtu} type bridge stp_state 0 forward_delay 0`,
          `link set ${bridge} up`,
        ],
  );
  if (missing.length > 0) await ipBatch(netns, ['link set lo up', ...missing]);
  const linked =
    isDone(root.get(managementLink), { address: plan.management }) &&
    isDone(present.get('mgmt-root'), { master: 'br-mgmt' });
  if (linked) return;
  await removePair({ link: managementLink, in: root }, { link: 'mgmt-root', in: present, netns });
  await ipBatch(undefined, [
    `link add ${managementLink} type veth peer name mgmt-root netns ${netns}`,
    `address add ${plan.management}/24 dev ${managementLink}`,
    `link set ${managementLink} up`,
  ]);
  await ipBatch(netns, ['link set mgmt-root master br-mgmt', 'link set mgmt-root up']);
}

/** One end of a pair of links, and what its namespace has (root's when undefined). */
interface End {
  readonly link: string;
  readonly in: ReadonlyMap<string, Link>;
  readonly netns?: string;
}

/**
 * Removes a pair of links of which one end, the other or both are there. Of a namespace that has ended the other ends stay until the kernel
 * comes to them, and for as long as a process is in it: their names are taken.
 */
async function removePair(...ends: readonly End[]): Promise<void> {
  for (const { link, in: there, netns } of ends) if (there.has(link)) await deleteLink(link, netns);
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

async function ensurePorts(plan: LabPlan, netns: string, ports: readonly Port[]): Promise<void> {
  await ensureNamespace(netns);
  const [present, fabric] = await Promise.all([linkTable(netns), linkTable(plan.fabricNetns)]);
  const missing = ports.filter(
    ({ name, address, switchPort, bridge }) =>
      !isDone(present.get(name), { address }) || !isDone(fabric.get(switchPort), { master: bridge }),
  );
  if (missing.length === 0) return;
  for (const { name, switchPort } of missing)
    await removePair(
      { link: name, in: present, netns },
      { link: switchPort, in: fabric, netns: plan.fabricNetns },
    );
  await ipBatch(netns, ['link set lo up', ...missing.flatMap((port) => portLines(port, plan.fabricNetns))]);
  // Last: a port that joined its switch is whole.
  await ipBatch(
    plan.fabricNetns,
    missing.flatMap((port) => [
      `link set ${port.switchPort} master ${port.bridge}`,
      `link set ${port.switchPort} up`,
    ]),
  );
}

async function ensureHost(plan: LabPlan, host: PlannedHost): Promise<void> {
  const { hostNetns, cardNetns, number } = host;
  await ensurePorts(plan, cardNetns, [underlayPort(plan, cardNetns, number, host.vtep)]);
  await ensurePorts(plan, hostNetns, [managementPort(plan, hostNetns, number, host.management)]);
  const [inHost, inCard] = await Promise.all([linkTable(hostNetns), linkTable(cardNetns)]);
  const linked =
    isDone(inHost.get('card0'), { address: hostCardLink.host }) &&
    isDone(inCard.get('host0'), { address: hostCardLink.card });
  if (linked) return;
  await removePair(
    { link: 'card0', in: inHost, netns: hostNetns },
    { link: 'host0', in: inCard, netns: cardNetns },
  );
  await ipBatch(hostNetns, [
    `link add card0 type veth peer name host0 netns ${cardNetns}`,
    `address add ${hostCardLink.host}/${hostCardLink.bits} dev card0`,
    'link set card0 up',
  ]);
  await ipBatch(cardNetns, [
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
  await ensurePorts(plan, netns, ports);
  const [root, inside] = await Promise.all([linkTable(), linkTable(netns)]);
  const linked =
    isDone(root.get(plan.uplinkLink), { address: plan.uplink }) &&
    isDone(inside.get('up0'), { address: plan.gatewayUplink });
  if (!linked) {
    await removePair({ link: plan.uplinkLink, in: root }, { link: 'up0', in: inside, netns });
    await ipBatch(undefined, [
      `link add ${plan.uplinkLink} type veth peer name up0 netns ${netns}`,
      `address add ${plan.uplink}/30 dev ${plan.uplinkLink}`,
      `link set ${plan.uplinkLink} up`,
    ]);
    await ipBatch(netns, [`address add ${plan.gatewayUplink}/30 dev up0`, 'link set up0 up']);
  }
  await ipBatch(undefined, [`route replace ${plan.publicCidr} via ${plan.gatewayUplink}`]);
  await ipBatch(netns, [`route replace default via ${plan.uplink}`]);
}

/** Makes what is missing of the run's namespaces, switches and links. */
export async function ensureTopology(plan: LabPlan, log: Log): Promise<void> {
  raiseMachineSettings(log);
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
    if (link.startsWith(`${prefix}-`)) await deleteLink(link);
  }
  for (const name of await namespacesOf(prefix)) await deleteNamespace(name);
}
