/** The parts of VPCs as they were compiled last: what has not changed keeps its objects, its version and its digest. */
import { groupsCarried, objectsFor } from '#base/network/needs.ts';
import { partsOf, type VpcParts } from '#base/network/parts.ts';
import { RecentPlaces } from '#base/network/recent.ts';
import { cellNumberOf } from '#contracts/ids.ts';
import type { VpcPort, VpcState } from '#contracts/network.ts';
import type { NetworkObject } from '#contracts/network-objects.ts';

/** Ports of all VPCs that are kept; some 500 bytes each. */
const portsKeptMax = 200_000;

export class VpcPartsCache {
  /** The one used last comes last. */
  readonly #kept = new Map<string, VpcParts>();
  #ports = 0;
  readonly recent = new RecentPlaces();

  of(state: VpcState): VpcParts {
    const known = this.#kept.get(state.vpcId);
    if (known !== undefined && known.places.version === state.version) return known;
    // A compilation that was overtaken by a later one must not put it back.
    if (known !== undefined && known.places.version > state.version) return partsOf(state);
    const parts = partsOf(state, known);
    if (known !== undefined) this.recent.add(known);
    this.#drop(state.vpcId);
    this.#kept.set(state.vpcId, parts);
    this.#ports += parts.places.entries.size;
    for (const vpcId of this.#kept.keys()) {
      if (this.#ports <= portsKeptMax || vpcId === state.vpcId) break;
      this.#drop(vpcId);
      this.recent.forget(vpcId);
    }
    return parts;
  }

  /** Its parts are made from nothing the next time: an object that says what it said gets the version of then. */
  forget(vpcId: string): void {
    this.#drop(vpcId);
    this.recent.forget(vpcId);
  }

  /**
   * Whether the same version is known here with another content. Rules of groups do not count: they may be newer than the version that they
   * were read with.
   */
  isOther(state: VpcState): boolean {
    const known = this.#kept.get(state.vpcId);
    if (known?.places.version !== state.version) return false;
    const { objects } = partsOf(state, known);
    if (objects.size !== known.objects.size || !known.places.isOf(state)) return true;
    for (const [key, { kind, current }] of objects) {
      const before = known.objects.get(key)?.current;
      if (before === undefined || (kind !== 'security-group' && before !== current)) return true;
    }
    return false;
  }

  #drop(vpcId: string): void {
    this.#ports -= this.#kept.get(vpcId)?.places.entries.size ?? 0;
    this.#kept.delete(vpcId);
  }
}

/** What a cell needs of a VPC for its hosts: settings, subnets, and the groups of its own interfaces, placed already or not. */
export const objectsForCell = (parts: VpcParts, cellNumber: number): NetworkObject[] => {
  const isOwn = ({ instanceId }: VpcPort): boolean =>
    instanceId !== undefined && cellNumberOf(instanceId) === cellNumber;
  return objectsFor(parts, groupsCarried(parts, isOwn));
};
