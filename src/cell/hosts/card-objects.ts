/** What the cards of this cell's hosts have of each VPC, as far as this processor knows, and how they are told the rest. */
import { difference, type Known, knownOf, nothingKnown, objectsFor } from '#base/network/needs.ts';
import { keyOf } from '#base/network/objects.ts';
import type { VpcParts } from '#base/network/parts.ts';
import type { RecentPlaces } from '#base/network/recent.ts';
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import type { DeviceObjects } from '#contracts/network-objects.ts';
import { vpcPushTimeoutMs } from '../limits.ts';
import type { HostSessions } from './sessions.ts';

/** A card whose places are not what they should be after a difference is told all of them. */
const triesMax = 2;

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
    for (let tries = 0; tries < triesMax; tries++) {
      const has = await this.#hasOf(hostId, parts.vpcId);
      if (has === undefined) return false;
      const told = difference(this.#recent.resolve(parts.vpcId, has), parts, objectsFor(parts, groupIds));
      if (told === undefined) return true;
      const transaction = { objects: [...told.objects], places: [told.places] };
      const answer = await this.#unlessFormer(hostId, () =>
        this.#hosts.call(hostId, 'card.transact', transaction, { timeoutMs: vpcPushTimeoutMs }),
      );
      if (answer === undefined) return false;
      if (this.#note(hostId, parts, has, answer)) return true;
    }
    return true;
  }

  /** Whether the card has all that there is to be had from here. */
  #note(hostId: string, { vpcId, places }: VpcParts, has: Known, answer: DeviceObjects): boolean {
    const objects = new Map(has.objects);
    for (const object of answer.objects)
      if (object.current === undefined) objects.delete(keyOf(object));
      else objects.set(keyOf(object), object.current.digest);
    const there = answer.places.find((each) => each.vpcId === vpcId);
    const isSame = there?.digest === places.digest;
    this.#of(hostId).set(vpcId, { objects, places: isSame ? places : there });
    // One that has heard of a later version, from another processor, is further than this one.
    return isSame || (there?.version ?? 0) > places.version;
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
