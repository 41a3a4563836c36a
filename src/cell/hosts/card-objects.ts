/** What the cards of this cell's hosts have of each VPC, as far as this processor knows, and how they are told the rest. */
import { difference, type Known, knownOf, nothingKnown, objectsFor } from '#base/network/needs.ts';
import { keyOf } from '#base/network/objects.ts';
import type { VpcParts } from '#base/network/parts.ts';
import type { RecentPlaces } from '#base/network/recent.ts';
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import type { DeviceObjects, NetworkObject } from '#contracts/network-objects.ts';
import { vpcPushTimeoutMs } from '../limits.ts';
import type { HostSessions } from './sessions.ts';

/** A card that has other places or objects after a difference than it should is told again, from what it says: another processor told it too. */
const triesMax = 3;

export class CardObjects {
  readonly #hosts: Pick<HostSessions, 'call'>;
  /** By host and VPC. */
  readonly #known = new Map<string, Map<string, Known>>();
  /** Hosts that were asked for everything: what is not known of them they do not have. */
  readonly #listed = new Set<string>();
  /** Hosts whose card, or agent, takes whole documents alone. */
  readonly #former = new Set<string>();

  readonly #recent: RecentPlaces;

  constructor(hosts: Pick<HostSessions, 'call'>, recent: RecentPlaces) {
    this.#hosts = hosts;
    this.#recent = recent;
  }

  isFormer(hostId: string): boolean {
    return this.#former.has(hostId);
  }

  forgetHost(hostId: string): void {
    this.#known.delete(hostId);
    this.#listed.delete(hostId);
    this.#former.delete(hostId);
  }

  forgetVpc(vpcId: string, hostId?: string): void {
    const hosts = hostId === undefined ? this.#known.values() : [this.#of(hostId)];
    for (const known of hosts) known.delete(vpcId);
  }

  /** Asks a host for everything; undefined: it is of the last release. */
  async list(hostId: string): Promise<DeviceObjects | undefined> {
    const all = await this.#unlessFormer(hostId, () =>
      this.#hosts.call(hostId, 'card.objects', {}, { timeoutMs: vpcPushTimeoutMs }),
    );
    if (all === undefined) return undefined;
    const known = this.#of(hostId);
    known.clear();
    for (const { vpcId } of all.places) known.set(vpcId, knownOf(vpcId, all));
    this.#listed.add(hostId);
    return all;
  }

  /** Tells a card what it lacks. Answers false where the host is of the last release: it is to be told the whole document. */
  async bring(hostId: string, parts: VpcParts, groupIds: ReadonlySet<string>): Promise<boolean> {
    const { vpcId, places } = parts;
    for (let tries = 0; tries < triesMax; tries++) {
      const has = await this.#hasOf(hostId, vpcId);
      if (has === undefined) return false;
      const wanted = objectsFor(parts, groupIds);
      const told = difference(this.#recent.resolve(vpcId, has), parts, wanted);
      if (told === undefined) return true;
      const transaction = { objects: [...told.objects], places: [told.places] };
      const answer = await this.#unlessFormer(hostId, () =>
        this.#hosts.call(hostId, 'card.transact', transaction, { timeoutMs: vpcPushTimeoutMs }),
      );
      if (answer === undefined) return false;
      const there = answer.places.find((each) => each.vpcId === vpcId);
      const isSame = there?.digest === places.digest;
      // All that it has of the VPC: another processor may have told it, too.
      const { objects } = knownOf(vpcId, answer);
      this.#of(hostId).set(vpcId, { objects, places: isSame ? places : there });
      // One that has heard of a later version, from another processor, is further than this one.
      const isThere = isSame || (there?.version ?? 0) > places.version;
      if (isThere && !lacksSome(wanted, answer)) return true;
    }
    return true;
  }

  async #hasOf(hostId: string, vpcId: string): Promise<Known | undefined> {
    if (this.#former.has(hostId)) return undefined;
    const known = this.#of(hostId).get(vpcId);
    if (known !== undefined) return known;
    if (this.#listed.has(hostId)) return nothingKnown;
    const answer = await this.#unlessFormer(hostId, () =>
      this.#hosts.call(hostId, 'card.objects', { vpcIds: [vpcId] }, { timeoutMs: vpcPushTimeoutMs }),
    );
    return answer && knownOf(vpcId, answer);
  }

  async #unlessFormer<T>(hostId: string, call: () => Promise<T>): Promise<T | undefined> {
    if (this.#former.has(hostId)) return undefined;
    try {
      return await call();
    } catch (error) {
      if (!isUnknownMethod(error)) throw error;
      this.#former.add(hostId);
      return undefined;
    }
  }

  #of(hostId: string): Map<string, Known> {
    const known = this.#known.get(hostId) ?? new Map<string, Known>();
    this.#known.set(hostId, known);
    return known;
  }
}

/** Whether an answer shows that one of these is missing, or is an older one. */
const lacksSome = (wanted: readonly NetworkObject[], { objects }: DeviceObjects): boolean => {
  const present = new Map(objects.map((object) => [keyOf(object), object.current]));
  return wanted.some((object) => {
    const has = present.get(keyOf(object));
    return has === undefined || (has.digest !== object.digest && has.version < object.version);
  });
};
