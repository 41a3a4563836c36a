/**
 * What VMMs may reach on the network: nothing, but the one peer of a migration. A VMM has its host's network namespace (it opens its tap
 * there), and a uid of its own: the kernel drops what sockets of these uids send. A guest's packets are frames of its tap, and pass.
 *
 *   source   may connect to its target's ports for memory and disk
 *   target   may answer on its own two ports; it may not connect from them
 *
 * The rules are a table of this host's own. It stays when the agent dies, as VMs do.
 */
import { exec } from '#base/exec.ts';
import { vmsPerHostMax } from './limits.ts';
import type { MigrationRecord } from './vm-record.ts';

/** Elements of the two sets; `uid . …` in both. */
export interface Reach {
  readonly peers: readonly string[];
  readonly listening: readonly string[];
}

const nothing: Reach = { peers: [], listening: [] };

const portOf = (uri: string): { host: string; port: number } => {
  const { hostname, port } = new URL(uri.replace(/^tcp:(\/\/)?/, 'tcp://'));
  return { host: hostname, port: Number(port) };
};

/** What a VM's part in a migration asks for. Pure. */
export const reachOf = (uid: number, migration: MigrationRecord | undefined): Reach => {
  if (migration === undefined) return nothing;
  // It has given everything away; where to may not be known any more (adopt.ts).
  if (migration.role === 'source' && migration.phase === 'completed') return nothing;
  const ends = [migration.memoryUri, migration.diskUri].map(portOf);
  return migration.role === 'source'
    ? { peers: ends.map(({ host, port }) => `${uid} . ${host} . ${port}`), listening: [] }
    : { peers: [], listening: ends.map(({ port }) => `${uid} . ${port}`) };
};

/** The whole table, empty of exceptions. Pure. */
export const fenceTable = (name: string, uidBase: number): string => `table inet ${name}
delete table inet ${name}
table inet ${name} {
  set peers { typeof meta skuid . ip daddr . tcp dport; }
  set listening { typeof meta skuid . tcp sport; }
  chain output {
    type filter hook output priority filter; policy accept;
    meta skuid ${uidBase}-${uidBase + vmsPerHostMax - 1} goto vmm
  }
  chain vmm {
    meta skuid . ip daddr . tcp dport @peers accept
    tcp flags & (syn | ack) != syn meta skuid . tcp sport @listening accept
    counter drop
  }
}
`;

const change = (name: string, before: Reach, after: Reach): string[] =>
  (['peers', 'listening'] as const).flatMap((set) => [
    ...before[set]
      .filter((element) => !after[set].includes(element))
      .map((element) => `delete element inet ${name} ${set} { ${element} }`),
    ...after[set]
      .filter((element) => !before[set].includes(element))
      .map((element) => `add element inet ${name} ${set} { ${element} }`),
  ]);

const nft = (input: string): Promise<unknown> => exec('nft', ['-f', '-'], { input });

export class VmmFence {
  readonly #name: string;
  readonly #uidBase: number;
  readonly #reach = new Map<number, Reach>();
  /** Changes of one table follow each other. */
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(name: string, uidBase: number) {
    this.#name = name;
    this.#uidBase = uidBase;
  }

  /**
   * Puts the table in place in one transaction, with what these VMs (of a former agent's) have to reach: a migration that is under
   * way goes on. Throws where the kernel has no nftables: then no VMM is to be started here.
   */
  static async open(
    runPrefix: string,
    uidBase: number,
    present: readonly { readonly uid: number; readonly migration?: MigrationRecord | undefined }[],
  ): Promise<VmmFence> {
    const fence = new VmmFence(`pando-vmm-${runPrefix}`.replaceAll('-', '_'), uidBase);
    for (const { uid, migration } of present) fence.#reach.set(uid, reachOf(uid, migration));
    await nft(fence.#table());
    return fence;
  }

  /** From here on the VM of this uid reaches what `migration` asks for, and nothing else. The same as before: nothing is done. */
  set(uid: number, migration: MigrationRecord | undefined): Promise<void> {
    const done = this.#tail.then(() => this.#set(uid, reachOf(uid, migration)));
    this.#tail = done.catch(() => undefined);
    return done;
  }

  async #set(uid: number, after: Reach): Promise<void> {
    const lines = change(this.#name, this.#reach.get(uid) ?? nothing, after);
    if (lines.length > 0) await nft(`${lines.join('\n')}\n`);
    if (after.peers.length + after.listening.length > 0) this.#reach.set(uid, after);
    else this.#reach.delete(uid);
  }

  /** Whether the kernel has the rules. */
  async isInPlace(): Promise<boolean> {
    const { exitCode, stdout } = await exec('nft', ['list', 'table', 'inet', this.#name], { allow: [1] });
    return (
      exitCode === 0 && stdout.includes(`${this.#uidBase}-${this.#uidBase + vmsPerHostMax - 1} goto vmm`)
    );
  }

  /** Puts the table in place once more, whatever has become of it. */
  renew(): Promise<void> {
    const done = this.#tail.then(() => nft(this.#table())).then(() => undefined);
    this.#tail = done.catch(() => undefined);
    return done;
  }

  #table(): string {
    const exceptions = [...this.#reach.values()].flatMap((reach) => change(this.#name, nothing, reach));
    return `${fenceTable(this.#name, this.#uidBase)}${exceptions.join('\n')}\n`;
  }

  /** For the end of a host: its VMs are gone. */
  async remove(): Promise<void> {
    await nft(`table inet ${this.#name}\ndelete table inet ${this.#name}\n`);
  }

  /** How many packets of VMMs were dropped. */
  async dropped(): Promise<number> {
    const { stdout } = await exec('nft', ['list', 'chain', 'inet', this.#name, 'vmm']);
    return Number(/counter packets (\d+)/.exec(stdout)?.[1] ?? 0);
  }
}
