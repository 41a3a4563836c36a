/** What each connected peer (a processor of a cell, the gateway) has of each VPC in parts, and how it is told the rest. */
import { difference, type Known, knownAfter, knownOf } from '#base/network/needs.ts';
import { keyOf } from '#base/network/objects.ts';
import type { VpcParts } from '#base/network/parts.ts';
import type { RecentPlaces } from '#base/network/recent.ts';
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import { PandoError } from '#contracts/errors.ts';
import type { DeviceObjects, NetworkObject, ObjectChange, PlacesDelta } from '#contracts/network-objects.ts';
import type { DeviceProof, VpcVersions } from './vpc-versions.ts';

export interface Change {
  readonly objects: ObjectChange[];
  readonly places: PlacesDelta;
}

export interface Told {
  readonly has: DeviceObjects;
  readonly unreachable: string[];
}

export interface PeerCalls {
  ask(vpcId: string): Promise<DeviceObjects>;
  tell(change: Change): Promise<Told>;
}

/** One that has other places or objects after a difference than it should says what it has, and is told again: another process told it too. */
const triesMax = 3;

/** Whether what a device has is of a history that the store has lost. */
export type LostHistory = Pick<VpcVersions, 'isLost'>;

/** Of a device that does not have what it was told. It is told again. */
export const hasLost = (vpcId: string, version: number): PandoError =>
  new PandoError('Conflict', `It has ${vpcId} as of version ${version}, which the store has lost.`);

export class Peers<Stream extends object> {
  readonly #known = new WeakMap<Stream, Map<string, Known>>();
  /** They take whole documents alone. */
  readonly #former = new WeakSet<Stream>();

  readonly #recent: RecentPlaces;
  readonly #versions: LostHistory | undefined;

  constructor(recent: RecentPlaces, versions?: LostHistory) {
    this.#recent = recent;
    this.#versions = versions;
  }

  forget(stream: Stream, vpcId: string): void {
    this.#known.get(stream)?.delete(vpcId);
  }

  /** Answers undefined where the peer is of the last release. */
  async tell(
    stream: Stream,
    parts: VpcParts,
    wanted: readonly NetworkObject[],
    calls: PeerCalls,
  ): Promise<Told | undefined> {
    if (this.#former.has(stream)) return undefined;
    try {
      return await this.#tell(stream, parts, wanted, calls);
    } catch (error) {
      // What it has after a call whose answer was lost is asked.
      this.forget(stream, parts.vpcId);
      if (!isUnknownMethod(error)) throw error;
      this.#former.add(stream);
      return undefined;
    }
  }

  async #tell(
    stream: Stream,
    parts: VpcParts,
    wanted: readonly NetworkObject[],
    { ask, tell }: PeerCalls,
  ): Promise<Told> {
    const { vpcId, places } = parts;
    const known = this.#known.get(stream) ?? new Map<string, Known>();
    this.#known.set(stream, known);
    let sent = wanted;
    for (let tries = 1; ; tries++) {
      const has = known.get(vpcId) ?? this.#recent.resolve(vpcId, knownOf(vpcId, await ask(vpcId)));
      const nothing = { vpcId, version: places.version, set: [], removed: [] };
      const change = difference(has, parts, sent) ?? { objects: [], places: nothing };
      // Also when it has everything: its own hosts may not.
      const told = await tell({ objects: [...change.objects], places: change.places });
      const there = told.has.places.find((each) => each.vpcId === vpcId);
      const isSame = there?.digest === places.digest;
      const objects = isSame ? knownAfter(has, change, told.has) : undefined;
      if (objects === undefined) known.delete(vpcId);
      else known.set(vpcId, { objects, places });
      const refused = refusedOf(sent, told.has);
      const version = Math.max(there?.version ?? 0, ...refused.values());
      if (version > places.version) return this.#unlessLost(told, vpcId, version, 'further');
      if (tries >= triesMax) return isSame ? told : this.#unlessLost(told, vpcId, version, 'other');
      if (objects !== undefined && refused.size === 0) return told;
      // It has a later one of a version that ours is not older than: what it is told is so at the version of now.
      sent = sent.map((object) =>
        refused.has(keyOf(object)) ? { ...object, version: places.version } : object,
      );
    }
  }

  /** @throws Conflict when it has what the store has lost: it does not have what it was told */
  async #unlessLost(told: Told, vpcId: string, version: number, proof: DeviceProof): Promise<Told> {
    if (!(await this.#versions?.isLost(vpcId, version, proof))) return told;
    throw hasLost(vpcId, version);
  }
}

/** Versions of objects that a device keeps, with another content, since it had them later; by `keyOf`. */
const refusedOf = (sent: readonly NetworkObject[], has: DeviceObjects): ReadonlyMap<string, number> => {
  const held = new Map(has.objects.map((object) => [keyOf(object), object.current]));
  return new Map(
    sent.flatMap((object): [string, number][] => {
      const current = held.get(keyOf(object));
      const isLater = current !== undefined && current.version > object.version;
      return isLater && current.digest !== object.digest ? [[keyOf(object), current.version]] : [];
    }),
  );
};
