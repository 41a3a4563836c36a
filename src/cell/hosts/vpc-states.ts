/**
 * The network state that this processor has heard, in parts, and which host's card has been brought to what. Level-triggered: a card is
 * told what leads to the newest state, however many changes it missed, and one that could not be told is told again.
 */
import type { Logger } from '#base/log.ts';
import { groupsByCard } from '#base/network/needs.ts';
import { changeParts, isDeclared, noParts, partsOf, stateOf, type VpcParts } from '#base/network/parts.ts';
import { RecentPlaces } from '#base/network/recent.ts';
import { describeDevice } from '#base/network/transaction.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { isUnknownMethod } from '#base/rpc/formerNames.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VpcState } from '#contracts/network.ts';
import type { DeviceObjects, ObjectChange, PlacesDelta } from '#contracts/network-objects.ts';
import type { regionContract } from '#contracts/region.ts';
import { declarationTriesMax, vpcPushTimeoutMs } from '../limits.ts';
import { findHost } from '../store/hosts.ts';
import { hostsOfVpc } from '../store/instances.ts';
import type { Database } from '../store/sql.ts';
import { deleteVpcState, loadVpcStates, storeVpcStates } from '../store/vpc-states.ts';
import { CardObjects } from './card-objects.ts';
import type { HostSessions } from './sessions.ts';

export interface VpcStatesOptions {
  readonly db: Database;
  readonly cellId: string;
  readonly region: Caller<typeof regionContract>;
  readonly hosts: HostSessions;
  readonly log: Logger;
}

/** What a launch's command says of its VPC: that the card has it, or (to an agent of the last release) the whole of it. */
export type Declaration =
  | { readonly declared: { readonly vpcId: string; readonly mtu: number } }
  | { readonly vpc: VpcState };

/** A state and its place in the order in which this processor heard of states. */
interface Heard {
  readonly parts: VpcParts;
  readonly sequence: number;
}

/** VPCs whose state is kept by one statement: a large one takes megabytes. */
const savedAtOnceMax = 16;

const keyOf = (hostId: string, vpcId: string): string => `${hostId} ${vpcId}`;

const knows = (parts: VpcParts, groupIds: readonly string[]): boolean =>
  isDeclared(parts) &&
  groupIds.every((id) => parts.objects.get(`security-group/${id}`)?.current !== undefined);

export class VpcStates {
  readonly #options: VpcStatesOptions;
  readonly #cards: CardObjects;
  readonly #recent = new RecentPlaces();
  readonly #heard = new Map<string, Heard>();
  readonly #asking = new Map<string, Promise<VpcParts>>();
  readonly #unsaved = new Set<string>();
  /** By card and VPC: the place in the order of what it was brought to. */
  readonly #applied = new Map<string, number>();
  readonly #inFlight = new Map<string, Promise<void>>();
  readonly #behind = new Map<string, { hostId: string; vpcId: string }>();
  readonly #vteps = new Map<string, string>();
  /** By card and VPC: groups of ports that are being prepared there, which no place tells of yet. */
  readonly #prepared = new Map<string, string[]>();
  #sequence = 0;

  constructor(options: VpcStatesOptions) {
    this.#options = options;
    this.#cards = new CardObjects(options.hosts, this.#recent);
  }

  /** Remembers a whole document unless a newer state is known. */
  observe(state: VpcState): void {
    const known = this.#partsOf(state.vpcId);
    if (isDeclared(known) && known.places.version >= state.version) return;
    this.#keep(partsOf(state, known));
  }

  #partsOf(vpcId: string): VpcParts {
    return this.#heard.get(vpcId)?.parts ?? noParts(vpcId);
  }

  #keep(parts: VpcParts): void {
    const before = this.#heard.get(parts.vpcId)?.parts;
    if (before === parts) return;
    if (before !== undefined) this.#recent.add(before);
    this.#heard.set(parts.vpcId, { parts, sequence: ++this.#sequence });
    this.#unsaved.add(parts.vpcId);
  }

  #change(vpcId: string, objects: readonly ObjectChange[], places: PlacesDelta): void {
    this.#keep(changeParts(this.#partsOf(vpcId), objects, [places]));
  }

  /** What this processor has of these VPCs. */
  objects(vpcIds: readonly string[]): DeviceObjects {
    return describeDevice(
      new Map(),
      vpcIds.flatMap((vpcId) => this.#heard.get(vpcId)?.parts ?? []),
    );
  }

  /**
   * Calls `work` with what a launch on this host says of the VPC, when the host's card has all that a port with these groups needs: of
   * what is known here, else of what the region says. A card that has forgotten the VPC meanwhile is told again.
   */
  async withDeclared<T>(
    hostId: string,
    vpcId: string,
    groupIds: readonly string[],
    work: (declaration: Declaration) => Promise<T>,
  ): Promise<T> {
    const key = keyOf(hostId, vpcId);
    // Until the port is attached only this knows that its groups are needed there.
    this.#prepared.set(key, [...(this.#prepared.get(key) ?? []), ...groupIds]);
    try {
      for (let tries = 1; ; tries++)
        try {
          return await this.#declared(hostId, vpcId, groupIds, work);
        } catch (error) {
          if (PandoError.from(error).code !== 'InvalidVpcID.NotFound' || tries >= declarationTriesMax)
            throw error;
          this.#cards.forgetVpc(vpcId, hostId);
        }
    } finally {
      const left = [...(this.#prepared.get(key) ?? [])];
      for (const groupId of groupIds) left.splice(left.indexOf(groupId), 1);
      if (left.length === 0) this.#prepared.delete(key);
      else this.#prepared.set(key, left);
    }
  }

  async #declared<T>(
    hostId: string,
    vpcId: string,
    groupIds: readonly string[],
    work: (declaration: Declaration) => Promise<T>,
  ): Promise<T> {
    const parts = await this.#current(vpcId, groupIds);
    const sequence = this.#heard.get(vpcId)?.sequence;
    const state = stateOf(parts);
    if (state === undefined) throw new PandoError('NotFound', `The state of ${vpcId} is not known here.`);
    const isTold = await this.#cards.bring(hostId, parts, await this.#groupsOn(hostId, parts));
    const { mtu } = state;
    const result = await work(isTold ? { declared: { vpcId, mtu } } : { vpc: state });
    const key = keyOf(hostId, vpcId);
    // After a call that carried the state with it, or came after it.
    if (sequence !== undefined && (this.#applied.get(key) ?? 0) < sequence) this.#applied.set(key, sequence);
    return result;
  }

  /** A state that knows all of these groups: the one at hand, else the region's. */
  async #current(vpcId: string, groupIds: readonly string[]): Promise<VpcParts> {
    const known = this.#partsOf(vpcId);
    if (knows(known, groupIds)) return known;
    // Launches that need it at the same time share one answer; one that finds it too old asks anew.
    const parts = await (this.#asking.get(vpcId) ?? this.#ask(vpcId));
    if (knows(parts, groupIds)) return parts;
    return this.#ask(vpcId);
  }

  #ask(vpcId: string): Promise<VpcParts> {
    const asked = this.#askRegion(vpcId).then(() => this.#partsOf(vpcId));
    this.#asking.set(vpcId, asked);
    const done = (): void => {
      if (this.#asking.get(vpcId) === asked) this.#asking.delete(vpcId);
    };
    asked.then(done, done);
    return asked;
  }

  /** What leads from what is known here to what is; a region of the last release tells all of it. */
  async #askRegion(vpcId: string): Promise<void> {
    const { region, cellId } = this.#options;
    const options = { timeoutMs: vpcPushTimeoutMs };
    try {
      const has = this.objects([vpcId]);
      const { objects, places } = await region.call('region.vpcParts', { cellId, vpcId, has }, options);
      this.#change(vpcId, objects, places);
    } catch (error) {
      if (!isUnknownMethod(error)) throw error;
      this.observe((await region.call('region.vpcState', { vpcId }, options)).state);
    }
  }

  /** The region's push of a whole document: tells every connected host that has a port in the VPC; answers which could not be told. */
  async push(state: VpcState): Promise<{ version: number; unreachable: string[] }> {
    this.observe(state);
    return { version: state.version, unreachable: await this.#tellHosts(state.vpcId) };
  }

  /** The same of what has changed. */
  async applyParts(
    objects: readonly ObjectChange[],
    places: PlacesDelta,
  ): Promise<{ has: DeviceObjects; unreachable: string[] }> {
    const { vpcId } = places;
    this.#change(vpcId, objects, places);
    const told = new Set(objects.map(({ kind, id }) => `${kind}/${id}`));
    const all = this.objects([vpcId]);
    const has = { ...all, objects: all.objects.filter(({ kind, id }) => told.has(`${kind}/${id}`)) };
    return { has, unreachable: await this.#tellHosts(vpcId) };
  }

  async #tellHosts(vpcId: string): Promise<string[]> {
    const unreachable: string[] = [];
    const sequence = this.#heard.get(vpcId)?.sequence ?? 0;
    await Promise.all(
      (await hostsOfVpc(this.#options.db, vpcId)).map(async (hostId) => {
        if (!(await this.#tell(hostId, vpcId, sequence))) unreachable.push(hostId);
      }),
    );
    return unreachable;
  }

  async remove(vpcId: string): Promise<void> {
    this.#heard.delete(vpcId);
    this.#unsaved.delete(vpcId);
    this.#cards.forgetVpc(vpcId);
    this.#recent.forget(vpcId);
    for (const key of this.#applied.keys()) if (key.endsWith(` ${vpcId}`)) this.#applied.delete(key);
    for (const [key, entry] of this.#behind) if (entry.vpcId === vpcId) this.#behind.delete(key);
    await deleteVpcState(this.#options.db, vpcId);
  }

  /**
   * A host that (re)connected: what its card has is asked, not assumed; what it lacks is told, what it needs no more is removed.
   * `readNeeded` reads the VPCs that the host's instances are in.
   */
  async reconcileHost(hostId: string, readNeeded: () => Promise<ReadonlySet<string>>): Promise<void> {
    const status = await this.#options.hosts.card(hostId, 'card.status', {});
    const listed = await this.#cards.list(hostId);
    const has = new Map(status.vpcs.map((vpc) => [vpc.vpcId, vpc.version]));
    const present = new Set([...has.keys(), ...(listed?.places ?? []).map(({ vpcId }) => vpcId)]);
    // The race with a launch: its row is durable before its first command, so rows that are read after the card's list explain all of it.
    const needed = await readNeeded();
    for (const vpcId of present) if (!needed.has(vpcId)) await this.#removeFrom(hostId, vpcId, readNeeded);
    for (const vpcId of needed) {
      const heard = await this.#newest(vpcId);
      if (heard === undefined) continue;
      const isThere = listed === undefined && (has.get(vpcId) ?? 0) >= heard.parts.places.version;
      if (isThere) this.#applied.set(keyOf(hostId, vpcId), heard.sequence);
      else await this.#tell(hostId, vpcId, heard.sequence);
    }
  }

  /** The rows are read again just before, and the card itself refuses what has got a port since: what a launch needs stays. */
  async #removeFrom(
    hostId: string,
    vpcId: string,
    readNeeded: () => Promise<ReadonlySet<string>>,
  ): Promise<void> {
    const { hosts, log } = this.#options;
    if ((await readNeeded()).has(vpcId)) return;
    // Forgotten first: a launch that declares it again must be noted, not overwritten.
    this.#applied.delete(keyOf(hostId, vpcId));
    this.#cards.forgetVpc(vpcId, hostId);
    try {
      await hosts.card(hostId, 'card.removeVpc', { vpcId });
    } catch (error) {
      if (PandoError.from(error).code !== 'Conflict') throw error;
      log.warn(
        { host: hostId, vpc: vpcId },
        'the card keeps a VPC that no instance of this host is in: it has ports, or forwards for one that has just moved away',
      );
    }
  }

  /** A host that dialled in anew, or is gone: nothing is known of its card. */
  forgetHost(hostId: string): void {
    for (const key of this.#applied.keys()) if (key.startsWith(`${hostId} `)) this.#applied.delete(key);
    this.#cards.forgetHost(hostId);
    this.#vteps.delete(hostId);
  }

  /** Tells again the connected hosts that are behind. */
  async retryBehind(): Promise<void> {
    for (const { hostId, vpcId } of [...this.#behind.values()]) {
      const heard = this.#heard.get(vpcId);
      if (heard === undefined || !this.#options.hosts.has(hostId)) continue;
      await this.#tell(hostId, vpcId, heard.sequence);
    }
  }

  /** Saves what was heard. Behind the pushes: it is a copy of the region's truth, kept for when the region is away. */
  async save(): Promise<void> {
    const vpcIds = [...this.#unsaved];
    for (let from = 0; from < vpcIds.length; from += savedAtOnceMax) {
      const batch = vpcIds.slice(from, from + savedAtOnceMax);
      for (const vpcId of batch) this.#unsaved.delete(vpcId);
      const states = batch.flatMap((vpcId) => stateOf(this.#partsOf(vpcId)) ?? []);
      if (states.length > 0) await this.#store(states);
    }
  }

  async #store(states: readonly VpcState[]): Promise<void> {
    try {
      await storeVpcStates(this.#options.db, states);
    } catch (error) {
      for (const { vpcId } of states) this.#unsaved.add(vpcId);
      throw error;
    }
  }

  /** The region's state if it answers, else the newest that the cell has. */
  async #newest(vpcId: string): Promise<Heard | undefined> {
    try {
      await this.#askRegion(vpcId);
    } catch (error) {
      if (PandoError.from(error).code === 'InvalidVpcID.NotFound') return undefined;
      for (const state of await loadVpcStates(this.#options.db, [vpcId])) this.observe(state);
    }
    return this.#heard.get(vpcId);
  }

  async #tell(hostId: string, vpcId: string, sequence: number): Promise<boolean> {
    const key = keyOf(hostId, vpcId);
    try {
      await this.#bring(hostId, vpcId, sequence);
      this.#behind.delete(key);
      return true;
    } catch (error) {
      this.#behind.set(key, { hostId, vpcId });
      this.#options.log.warn(
        { host: hostId, vpc: vpcId, code: PandoError.from(error).code },
        'card is behind',
      );
      return false;
    }
  }

  /** One call at a time per card and VPC, each with the newest state: pushes that pile up behind a slow card become one. */
  async #bring(hostId: string, vpcId: string, sequence: number): Promise<void> {
    const key = keyOf(hostId, vpcId);
    while ((this.#applied.get(key) ?? 0) < sequence) {
      const running = this.#inFlight.get(key);
      if (running !== undefined) {
        await running.catch(() => undefined);
        if (!this.#options.hosts.has(hostId))
          throw new PandoError('HostUnreachable', `Host ${hostId} went away.`);
        continue;
      }
      const sent = this.#send(hostId, vpcId, key);
      this.#inFlight.set(key, sent);
      try {
        await sent;
      } finally {
        this.#inFlight.delete(key);
      }
    }
  }

  async #send(hostId: string, vpcId: string, key: string): Promise<void> {
    const heard = this.#heard.get(vpcId);
    if (heard === undefined) throw new PandoError('NotFound', `The state of ${vpcId} is not known here.`);
    const { parts, sequence } = heard;
    if (!(await this.#cards.bring(hostId, parts, await this.#groupsOn(hostId, parts))))
      await this.#sendWhole(hostId, parts);
    this.#applied.set(key, Math.max(this.#applied.get(key) ?? 0, sequence));
  }

  /** To a card of the last release. One that has a newer state than ours is not behind. */
  async #sendWhole(hostId: string, parts: VpcParts): Promise<void> {
    const state = stateOf(parts);
    if (state === undefined)
      throw new PandoError('NotFound', `The state of ${parts.vpcId} is not known here.`);
    try {
      await this.#options.hosts.card(hostId, 'card.applyVpc', { state }, { timeoutMs: vpcPushTimeoutMs });
    } catch (error) {
      if (PandoError.from(error).code !== 'StaleEpoch') throw error;
    }
  }

  /** Groups that the ports on a host carry, and those that are being prepared there. */
  async #groupsOn(hostId: string, parts: VpcParts): Promise<ReadonlySet<string>> {
    const vtep = this.#vteps.get(hostId) ?? (await findHost(this.#options.db, hostId))?.vtep ?? '';
    this.#vteps.set(hostId, vtep);
    const carried = groupsByCard(parts).get(vtep) ?? new Set<string>();
    const prepared = this.#prepared.get(keyOf(hostId, parts.vpcId));
    return prepared === undefined ? carried : new Set([...carried, ...prepared]);
  }
}
