/**
 * The hosts that are told of a VPC: those that have a port in it by its places, which are known here, and those that are getting one, which
 * the store knows. Every push asks, so the store is read anew for a VPC only after a while: a host that began to get its first port
 * meanwhile through another processor was told there, and is among the places before its port is shown to anybody.
 */
import type { VpcParts } from '#base/network/parts.ts';
import type { Places } from '#base/network/places.ts';
import { cellNumberOf } from '#contracts/ids.ts';
import { vpcHostsReadEveryMs, vpcHostsReadMax } from '../limits.ts';
import { hostsOfVpc, type VpcHost } from '../store/instances.ts';
import type { Sql } from '../store/sql.ts';

export interface VpcHostsOptions {
  readonly db: Sql;
  readonly cellNumber: number;
  /** Milliseconds, monotonic. */
  now(): number;
}

interface Read {
  readonly hosts: readonly VpcHost[];
  readonly atMs: number;
}

export class VpcHosts {
  readonly #options: VpcHostsOptions;
  /** By VPC, the one read longest ago first. */
  readonly #read = new Map<string, Read>();

  constructor(options: VpcHostsOptions) {
    this.#options = options;
  }

  async of({ vpcId, places }: Pick<VpcParts, 'vpcId' | 'places'>): Promise<readonly string[]> {
    const known = this.#read.get(vpcId);
    if (known !== undefined && this.#options.now() - known.atMs < vpcHostsReadEveryMs) {
      const told = withPlaced(known.hosts, this.#placedHere(places));
      if (told !== undefined) return told;
    }
    return (await this.#readHosts(vpcId)).map(({ host_id: id }) => id);
  }

  forget(vpcId: string): void {
    this.#read.delete(vpcId);
  }

  async #readHosts(vpcId: string): Promise<readonly VpcHost[]> {
    // Before it is read: what is committed meanwhile is read after the same while.
    const atMs = this.#options.now();
    const hosts = await hostsOfVpc(this.#options.db, vpcId);
    this.#read.delete(vpcId);
    this.#read.set(vpcId, { hosts, atMs });
    const [oldest] = this.#read.keys();
    if (this.#read.size > vpcHostsReadMax && oldest !== undefined) this.#read.delete(oldest);
    return hosts;
  }

  /** Ends of the tunnels at which this cell's own instances have ports. */
  #placedHere({ entries }: Places): ReadonlySet<string> {
    const vteps = new Set<string>();
    for (const { port } of entries.values())
      if (
        port.vtep !== undefined &&
        port.instanceId !== undefined &&
        cellNumberOf(port.instanceId) === this.#options.cellNumber
      )
        vteps.add(port.vtep);
    return vteps;
  }
}

/** Undefined: a port is on a host that was not read. */
const withPlaced = (
  hosts: readonly VpcHost[],
  placed: ReadonlySet<string>,
): readonly string[] | undefined => {
  const read = new Set(hosts.map(({ vtep }) => vtep));
  for (const vtep of placed) if (!read.has(vtep)) return undefined;
  return hosts.map(({ host_id: id }) => id);
};
