/** A VPC's network namespace on this device: made, changed in batches, removed. */
import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { KeptShell } from '#base/keptShell.ts';
import { PandoError } from '#contracts/errors.ts';
import {
  overlayDevice,
  ownShellsMax,
  routerMac,
  scriptTimeoutMs,
  tapQueueFramesMax,
  vxlanPort,
} from '../limits.ts';
import type { Plan } from '../model/plan.ts';
import { namespacePath, namespacesDirectory } from './paths.ts';
import { shells, type Tool } from './shells.ts';

/** Names of the namespaces on this machine that begin with `prefix`. */
export const listNamespaces = async (prefix: string): Promise<string[]> =>
  (await readdir(namespacesDirectory).catch(() => [])).filter((name) => name.startsWith(prefix));

/** Runs a shell script inside the namespace, after those before it, and returns what it printed. */
export const runInside = (name: string, script: string): Promise<string> => shells.run(name, script);

/** A file of the namespace's own `/proc/net`. */
export const readNet = (name: string, file: string): Promise<string> => shells.readNet(name, file);

/** Runs a shell script in this process's own namespace, up to its first command that fails, and returns what it printed. */
export const runHere = (script: string): Promise<string> => ownShell().run(script, scriptTimeoutMs);

/** Stay, so that a change does not fork this process for each command; ended by what ends us. */
const ownShells: KeptShell[] = [];

/** One that has nothing to do, a new one while there may be more, else the one that was used longest ago. */
const ownShell = (): KeptShell => {
  const known = ownShells.splice(0).filter((each) => !each.ended);
  const free = known.findIndex((each) => !each.busy);
  const [taken = new KeptShell('sh', [])] =
    free >= 0 || known.length >= ownShellsMax ? known.splice(Math.max(free, 0), 1) : [];
  ownShells.push(...known, taken);
  return taken;
};

/** Runs commands of `tool` inside the namespace and returns what they printed; all are run, also when one fails (`ExecError`). */
export const batchInside = (name: string, tool: Tool, lines: readonly string[]): Promise<string> =>
  shells.batch(name, tool, lines);

/** Tools stay in the namespace from here on: what comes next must be quick. */
export const keepTools = (name: string): Promise<void> => shells.keepTools(name);

/** Carries out a plan. Only deletions may fail: what they name may have left with its device. */
export const applyPlan = async (name: string, plan: Plan): Promise<void> => {
  if (plan.nft.length > 0) await runInside(name, given('nft -f -', plan.nft));
  await batchInside(name, 'bridge', plan.bridgeAdd);
  await batchInside(name, 'ip', plan.ipAdd);
  await batchInside(name, 'ip', plan.ipDelete).catch(() => undefined);
  await batchInside(name, 'bridge', plan.bridgeDelete).catch(() => undefined);
};

/** The command with the lines as its input. */
const given = (command: string, lines: readonly string[]): string =>
  `${command} <<'END-OF-BATCH'\n${lines.join('\n')}\nEND-OF-BATCH\n`;

/** Defaults that each device moved in later inherits: so attaching a tap sets nothing one by one. */
const settings: readonly [string, number][] = [
  ['ipv4/ip_forward', 1],
  ['ipv6/conf/all/disable_ipv6', 1],
  ['ipv6/conf/default/disable_ipv6', 1],
  ...['all', 'default', overlayDevice].flatMap((device): [string, number][] => [
    [`ipv4/conf/${device}/send_redirects`, 0],
    [`ipv4/conf/${device}/accept_redirects`, 0],
    [`ipv4/conf/${device}/rp_filter`, 0],
  ]),
  ['ipv4/conf/default/proxy_arp', 1],
  // Flows that arrive by migration are seen from their middle: no window is known, so none is enforced.
  ['netfilter/nf_conntrack_tcp_be_liberal', 1],
];

/**
 * Makes the namespace with its overlay device. A half-made one of an earlier attempt is removed first, but never one with taps: it
 * was whole once, and VMs are wired into it.
 */
export const createNamespace = async (name: string, vni: number, vtep: string): Promise<void> => {
  if ((await listNamespaces(name)).includes(name) && (await hasTaps(name)))
    throw new Error(`${name} lacks its overlay device and has taps of VMs: it is not made anew`);
  await destroyNamespace(name);
  const write = settings.map(([path, value]) => `echo ${value} >/proc/sys/net/${path}`).join('\n');
  await runHere(`ip netns add ${name}
ip link add name ${overlayDevice} netns ${name} type vxlan id ${vni} dstport ${vxlanPort} local ${vtep} \\
  nolearning ttl 64 noudpcsum
nsenter --net=${namespacePath(name)} sh -e <<'END-OF-SETTINGS'
${classful(overlayDevice)}ip link set lo up
${write}
END-OF-SETTINGS
`);
};

/** Whether the namespace is there and complete. */
export const namespaceExists = async (name: string): Promise<boolean> => {
  if (!(await listNamespaces(name)).includes(name)) return false;
  return (await runHere(`if ${hasDevice(name, overlayDevice)}; then echo yes; fi\n`)) !== '';
};

/**
 * Removes the namespace and all in it; absent: nothing. The overlay device goes first: a dying namespace keeps its network
 * id taken for a while, and the same VPC may come back at once.
 */
export const destroyNamespace = async (name: string): Promise<void> => {
  await shells.close(name);
  if (!(await listNamespaces(name)).includes(name)) return;
  await runHere(`ip -n ${name} link del dev ${overlayDevice} 2>/dev/null || true
for tap in $(ip -n ${name} -o link show type tun 2>/dev/null | sed 's/^[0-9]*: \\([^:@]*\\).*/\\1/'); do
  ip -n ${name} link del dev "$tap" 2>/dev/null || true
done
ip netns del ${name}
`);
};

/** A condition of a script. */
const hasDevice = (name: string, device: string): string =>
  `ip -n ${name} link show dev ${device} >/dev/null 2>&1`;
/**
 * False of a file that a namespace was to be mounted on, and whose maker ended before that: nothing can be in it. It lies on the file
 * system of its directory, while a namespace is one of its own.
 */
const isMounted = async (name: string): Promise<boolean> => {
  const [file, directory] = await Promise.all([stat(namespacePath(name)), stat(namespacesDirectory)]);
  return file.dev !== directory.dev;
};

const hasTaps = async (name: string): Promise<boolean> =>
  (await isMounted(name)) && (await runHere(`ip -n ${name} -o link show type tun\n`)) !== '';

/** Names of the devices inside that are not its own: on a card, the wires of VMs. */
export const guestDevices = async (name: string): Promise<string[]> => {
  if (!(await isMounted(name))) return [];
  const text = await runHere(`ip -n ${name} -o link show\n`);
  const names = [...text.matchAll(/^\d+: ([^:@\s]+)/gm)].flatMap(([, device]) => device ?? []);
  return names.filter((device) => device !== 'lo' && device !== overlayDevice);
};

/** Makes a device able to hold packets back by classes. */
const classful = (device: string): string => `tc qdisc replace dev ${device} root handle 1: htb\n`;

/** A tap's own: its VM sees one router everywhere, and a burst for a resumed guest finds room. */
const tapSettings = `address ${routerMac} txqueuelen ${tapQueueFramesMax}`;

/**
 * Moves a tap of this process's namespace into the VPC's and sets what it does not inherit there. There already: only the latter. Answers
 * whether it is there now, and whether it came in just now. Packets for a VM that is still on its way here may have to be held back (`arrives`).
 */
export const takeTap = async (
  name: string,
  tap: string,
  { arrives }: { readonly arrives: boolean },
): Promise<{ readonly wired: boolean; readonly moved: boolean }> => {
  const moved = await moveTap(name, tap);
  if (!moved && !(await setTap(name, tap))) return { wired: false, moved };
  // Proxied addresses are answered at once.
  await runInside(
    name,
    `echo 0 >/proc/sys/net/ipv4/neigh/${tap}/proxy_delay\n${arrives ? classful(tap) : ''}`,
  );
  return { wired: true, moved };
};

/** False when it is not in this process's namespace. */
const moveTap = async (name: string, tap: string): Promise<boolean> => {
  if (!existsSync(`/proc/sys/net/ipv4/conf/${tap}`)) return false;
  try {
    if (await isInside(name, tap)) await removeUnheld(name, tap);
    await runHere(`ip link set dev ${tap} netns ${name} ${tapSettings}\n`);
  } finally {
    shells.devicesChanged(name);
  }
  return true;
};

const isInside = async (name: string, device: string): Promise<boolean> =>
  (await readNet(name, 'dev')).split('\n').some((line) => line.trimStart().startsWith(`${device}:`));

/**
 * Removes a tap of the same name that an earlier VMM left (its card died before it removed it). A process that has it open shows as its
 * carrier: then it serves a guest, whoever asks for the name. @throws Conflict
 */
const removeUnheld = async (name: string, tap: string): Promise<void> => {
  const flags = await runInside(name, `ip link set dev ${tap} up\nip -o link show dev ${tap}\n`);
  if (/[<,]LOWER_UP[,>]/.test(flags))
    throw new PandoError('Conflict', `Another tap ${tap} is in ${name}, and a process has it open.`);
  await runInside(name, `ip link del dev ${tap}\n`);
};

/** False when it is not in the VPC's namespace. */
const setTap = async (name: string, tap: string): Promise<boolean> => {
  if (!(await isInside(name, tap))) return false;
  await runInside(name, `ip link set dev ${tap} ${tapSettings}\n`);
  return true;
};
