/** What each connected peer (a processor of a cell, the gateway) has of each VPC in parts, and how it is told the rest. */
import { difference, type Known, knownAfter, knownOf } from '#base/network/needs.ts';
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

/** One that has other places or objects after a difference than it should says what it has, and is told again: another process told it too. */
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
      const isSame = there?.digest === places.digest;
      const objects = isSame ? knownAfter(has, change, told.has) : undefined;
      if (objects === undefined) known.delete(vpcId);
      else known.set(vpcId, { objects, places });
      const isFurther = (there?.version ?? 0) > places.version;
      if (objects !== undefined || isFurther || tries >= triesMax) return told;
    }
  }
}
