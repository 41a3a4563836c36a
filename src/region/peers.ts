/** What each connected peer (a processor of a cell, the gateway) has of each VPC in parts, and how it is told the rest. */
import { difference, type Known, knownOf } from '#base/network/needs.ts';
import { keyOf } from '#base/network/objects.ts';
import type { VpcParts } from '#base/network/parts.ts';
import type { RecentPlaces } from '#base/network/recent.ts';
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import type { DeviceObjects, NetworkObject, ObjectChange, PlacesDelta } from '#contracts/network-objects.ts';

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

/** One whose places are not what they should be after a difference says what it has, and is told again. */
const triesMax = 3;

export class Peers<Stream extends object> {
  readonly #known = new WeakMap<Stream, Map<string, Known>>();
  /** They take whole documents alone. */
  readonly #former = new WeakSet<Stream>();

  readonly #recent: RecentPlaces;

  constructor(recent: RecentPlaces) {
    this.#recent = recent;
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
    for (let tries = 1; ; tries++) {
      const has = known.get(vpcId) ?? this.#recent.resolve(vpcId, knownOf(vpcId, await ask(vpcId)));
      const nothing = { vpcId, version: places.version, set: [], removed: [] };
      const change = difference(has, parts, wanted) ?? { objects: [], places: nothing };
      // Also when it has everything: its own hosts may not.
      const told = await tell({ objects: [...change.objects], places: change.places });
      const there = told.has.places.find((each) => each.vpcId === vpcId);
      if (there?.digest === places.digest) known.set(vpcId, { objects: afterwards(has, told.has), places });
      else known.delete(vpcId);
      if (there?.digest === places.digest || (there?.version ?? 0) > places.version || tries >= triesMax)
        return told;
    }
  }
}

const afterwards = ({ objects: before }: Known, { objects }: DeviceObjects): ReadonlyMap<string, string> => {
  const after = new Map(before);
  for (const object of objects)
    if (object.current === undefined) after.delete(keyOf(object));
    else after.set(keyOf(object), object.current.digest);
  return after;
};
