/**
 * The capabilities that root's processes keep, each with its reason. They are a process's bounding set. Neither the process nor its
 * children can gain others (`no_new_privs`): tracing, kernel modules, raw disks, the clock and the rest are dropped.
 */

/** Names as setpriv(1) has them. */
export type Capability =
  | 'chown'
  | 'dac_override'
  | 'kill'
  | 'mknod'
  | 'net_admin'
  | 'net_bind_service'
  | 'setgid'
  | 'setpcap'
  | 'setuid'
  | 'sys_admin';

type Kept = Partial<Record<Capability, string>>;

/** Capability → why. Found by leaving out one after the other: see test/support/keptCapabilities.ts. */
export const agentCapabilities = {
  chown: "gives a VM's directory, disk and TLS files to its uid",
  dac_override: "reads and removes what lies in a directory of a VM's uid; the code may lie in a user's home",
  kill: 'ends a VMM, which has another uid',
  mknod: 'makes the three devices of a jail',
  net_admin: 'makes taps and moves them to the card; fences VMMs with nftables',
  setgid: 'a jail gives its VMM its own group',
  setpcap: "a jail empties its VMM's bounding set",
  setuid: 'a jail gives its VMM its own user',
  sys_admin: 'makes the mounts of a jail; enters network namespaces',
} as const satisfies Kept;

export const cardCapabilities = {
  dac_override: "the code may lie in a user's home",
  net_admin: 'links, routes, nftables, queueing disciplines',
  net_bind_service: 'DHCP answers on port 67, metadata on 80',
  kill: 'ends a helper of another uid (what answers guests)',
  setgid: 'a helper gets a group of its own',
  setpcap: "empties a helper's bounding set",
  setuid: 'a helper gets a user of its own',
  sys_admin: 'makes, names and enters network namespaces',
} as const satisfies Kept;

/** As the card: its namespaces are the same. */
export const gatewayCapabilities = cardCapabilities;

export const namesOf = (kept: Kept): string[] => Object.keys(kept).sort();
