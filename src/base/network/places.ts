/**
 * Where the interfaces of a VPC are, as a device or a relay knows it. Entries are told one by one, by several senders and in any order:
 * for each interface the greater epoch wins, then the greater version of the VPC. Never changed in place, so that whoever compares two
 * of them compares references.
 */
import type { VpcPort, VpcState } from '#contracts/network.ts';
import { PlacesDigest } from '#contracts/network-digest.ts';
import type { GatewayEntry, PlacesDelta } from '#contracts/network-objects.ts';
import { encodeOnce } from '../rpc/json.ts';

export interface Place {
  readonly port: VpcPort;
  /** Of the VPC, when this was so. */
  readonly version: number;
}

/** Interfaces that have gone, so that an older word does not bring them back. The comparison of digests finds what slips through. */
const removedKeptMax = 1_024;

interface Content {
  readonly version: number;
  readonly entries: ReadonlyMap<string, Place>;
  readonly removed: ReadonlyMap<string, number>;
  readonly gateway: GatewayEntry | undefined;
}

export class Places {
  /** The newest version of the VPC that this takes into account. */
  readonly version: number;
  /** By interface. */
  readonly entries: ReadonlyMap<string, Place>;
  readonly gateway: GatewayEntry | undefined;
  readonly #removed: ReadonlyMap<string, number>;
  /** By what they lead from; from nothing: by this itself. */
  readonly #since = new WeakMap<Places, PlacesDelta>();
  /** Worked out when somebody asks, then kept up. */
  #digest: PlacesDigest | undefined;

  constructor({ version, entries, removed, gateway }: Partial<Content> = {}, digest?: PlacesDigest) {
    this.version = version ?? 0;
    this.entries = entries ?? new Map();
    this.gateway = gateway;
    this.#removed = removed ?? new Map();
    this.#digest = digest;
  }

  get digest(): string {
    this.#digest ??= digestOfAll(this);
    return this.#digest.value;
  }

  /** Whether these are the places that a whole document tells. */
  isOf({ ports, internetGateway }: Pick<VpcState, 'ports' | 'internetGateway'>): boolean {
    const { entries, gateway } = this;
    if (ports.length !== entries.size) return false;
    if (gateway === undefined || internetGateway === undefined) {
      if (gateway !== internetGateway) return false;
    } else if (!sameGateway(gateway, internetGateway)) return false;
    return ports.every((port) => {
      const known = entries.get(port.eniId);
      return known !== undefined && samePort(known.port, port);
    });
  }

  /** These places after a delta; the same object if it says nothing new. */
  apply(delta: PlacesDelta): Places {
    const change = new Change(this.entries, this.#removed, this.#digest);
    if (delta.complete) {
      const all = new Set(delta.set.map(({ eniId }) => eniId));
      for (const eniId of this.entries.keys()) if (!all.has(eniId)) change.remove(eniId, delta.version);
    }
    for (const port of delta.set) change.set(port, delta.version);
    for (const eniId of delta.removed) change.remove(eniId, delta.version);
    const gateway = this.#gatewayAfter(delta);
    change.moveGateway(this.gateway, gateway);
    const version = Math.max(this.version, delta.version);
    if (!change.changed && version === this.version) return this;
    return new Places({ version, entries: change.entries, removed: change.removed, gateway }, change.digest);
  }

  #gatewayAfter({ gateway, complete, version }: PlacesDelta): GatewayEntry | undefined {
    if (version < this.version) return this.gateway;
    if (gateway === undefined) return complete ? undefined : this.gateway;
    if (gateway === null) return undefined;
    return this.gateway !== undefined && sameGateway(this.gateway, gateway) ? this.gateway : gateway;
  }

  /** What leads from `before` to this; `before` undefined: all of it. Made once for all that are told it. */
  since(vpcId: string, before: Places | undefined): PlacesDelta {
    const known = this.#since.get(before ?? this);
    if (known !== undefined) return known;
    const delta = encodeOnce(this.#leadingFrom(vpcId, before));
    this.#since.set(before ?? this, delta);
    return delta;
  }

  #leadingFrom(vpcId: string, before: Places | undefined): PlacesDelta {
    const { version, gateway } = this;
    if (before === undefined) {
      const set = [...this.entries.values()].map(({ port }) => port);
      return { vpcId, version, complete: true, set, removed: [], gateway: gateway ?? null };
    }
    const set = [...this.entries].filter(([eniId, entry]) => before.entries.get(eniId)?.port !== entry.port);
    const removed = [...before.entries.keys()].filter((eniId) => !this.entries.has(eniId));
    return {
      ...{ vpcId, version, set: set.map(([, { port }]) => port), removed },
      ...(before.gateway === gateway ? {} : { gateway: gateway ?? null }),
    };
  }
}

/** A change on its way: copies on the first write. */
class Change {
  #entries: ReadonlyMap<string, Place>;
  #removed: ReadonlyMap<string, number>;
  #copies: { entries: Map<string, Place>; removed: Map<string, number> } | undefined;
  readonly digest: PlacesDigest | undefined;
  changed = false;

  constructor(
    entries: ReadonlyMap<string, Place>,
    removed: ReadonlyMap<string, number>,
    digest: PlacesDigest | undefined,
  ) {
    this.#entries = entries;
    this.#removed = removed;
    this.digest = digest && new PlacesDigest(digest);
  }

  get entries(): ReadonlyMap<string, Place> {
    return this.#entries;
  }

  get removed(): ReadonlyMap<string, number> {
    return this.#removed;
  }

  set(port: VpcPort, version: number): void {
    const known = this.#entries.get(port.eniId);
    const goneAt = this.#removed.get(port.eniId);
    if (goneAt !== undefined && goneAt >= version) return;
    if (known !== undefined && !isNewer(port, version, known)) return;
    if (known !== undefined && samePort(known.port, port)) {
      // The same word, of later: an older one must not replace it.
      if (version > known.version) this.#write().entries.set(port.eniId, { port: known.port, version });
      this.changed ||= version > known.version;
      return;
    }
    this.changed = true;
    const { entries, removed } = this.#write();
    entries.set(port.eniId, { port, version });
    removed.delete(port.eniId);
    if (known !== undefined) this.digest?.remove(known.port);
    this.digest?.add(port);
  }

  remove(eniId: string, version: number): void {
    const known = this.#entries.get(eniId);
    if (known !== undefined && known.version > version) return;
    if ((this.#removed.get(eniId) ?? -1) >= version) return;
    this.changed = true;
    const { entries, removed } = this.#write();
    removed.delete(eniId);
    removed.set(eniId, version);
    for (const oldest of removed.keys()) {
      if (removed.size <= removedKeptMax) break;
      removed.delete(oldest);
    }
    if (known === undefined) return;
    entries.delete(eniId);
    this.digest?.remove(known.port);
  }

  moveGateway(before: GatewayEntry | undefined, after: GatewayEntry | undefined): void {
    if (before === after) return;
    this.changed = true;
    if (before !== undefined) this.digest?.remove(before);
    if (after !== undefined) this.digest?.add(after);
  }

  #write(): { entries: Map<string, Place>; removed: Map<string, number> } {
    if (this.#copies === undefined) {
      this.#copies = { entries: new Map(this.#entries), removed: new Map(this.#removed) };
      this.#entries = this.#copies.entries;
      this.#removed = this.#copies.removed;
    }
    return this.#copies;
  }
}

const isNewer = (port: VpcPort, version: number, known: Place): boolean =>
  port.epoch === known.port.epoch ? version >= known.version : port.epoch > known.port.epoch;

const sameGateway = (a: GatewayEntry, b: GatewayEntry): boolean =>
  a.id === b.id && a.vtep === b.vtep && a.mac === b.mac;

const samePort = (a: VpcPort, b: VpcPort): boolean =>
  a === b ||
  (a.ip === b.ip &&
    a.vtep === b.vtep &&
    a.epoch === b.epoch &&
    a.publicIp === b.publicIp &&
    a.mac === b.mac &&
    a.instanceId === b.instanceId &&
    a.subnetId === b.subnetId &&
    a.sourceDestCheck === b.sourceDestCheck &&
    a.groupIds.length === b.groupIds.length &&
    a.groupIds.every((groupId, at) => groupId === b.groupIds[at]));

const digestOfAll = ({ entries, gateway }: Places): PlacesDigest => {
  const digest = new PlacesDigest();
  for (const { port } of entries.values()) digest.add(port);
  if (gateway !== undefined) digest.add(gateway);
  return digest;
};
