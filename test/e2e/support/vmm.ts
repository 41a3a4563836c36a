/** Where a VM really runs, seen from the machine: its VMM processes and the network namespaces that they are in. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';

export interface Vmm {
  readonly pid: number;
  /** Name of the host's network namespace. */
  readonly host: string;
  /** It waits for a migration, or came by one. */
  readonly incoming: boolean;
}

const netnsDirectory = '/run/netns';

/** Those of other tests come and go meanwhile. */
const namespaceNames = (): Map<number, string> =>
  new Map(
    readdirSync(netnsDirectory).flatMap((name): [number, string][] => {
      const found = statSync(`${netnsDirectory}/${name}`, { throwIfNoEntry: false });
      return found === undefined ? [] : [[found.ino, name]];
    }),
  );

/** Every VMM process of an instance on this machine. */
export function vmmsOf(instanceId: string): Vmm[] {
  const names = namespaceNames();
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name): Vmm[] => {
      try {
        const args = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
        if (!basename(args[0] ?? '').startsWith('qemu-system')) return [];
        if (!args.some((arg) => arg === instanceId || arg.startsWith(`${instanceId},`))) return [];
        const host = names.get(statSync(`/proc/${name}/ns/net`).ino) ?? '';
        return [{ pid: Number(name), host, incoming: args.includes('-incoming') }];
      } catch {
        return [];
      }
    });
}

/** The one VMM of a VM that is at rest; throws when there is none or more than one. */
export function vmmOf(instanceId: string): Vmm {
  const [only, ...more] = vmmsOf(instanceId);
  if (only === undefined || more.length > 0)
    throw new Error(
      `${instanceId} has ${only === undefined ? 0 : 1 + more.length} VMM processes instead of one`,
    );
  return only;
}
