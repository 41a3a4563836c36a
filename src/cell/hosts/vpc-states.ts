/**
 * The VPC states that this processor has heard, and which host's card has which version. Level-triggered: a card is told the newest
 * state, however many versions it missed, and one that could not be told is told again.
 */
import type { Logger } from '#base/log.ts';
import type { Caller } from '#base/rpc/contract.ts';
import { encodeOnce } from '#base/rpc/json.ts';
import { PandoError } from '#contracts/errors.ts';
import type { VpcState } from '#contracts/network.ts';
import type { regionContract } from '#contracts/region.ts';
import { vpcPushTimeoutMs } from '../limits.ts';
import { hostsOfVpc } from '../store/instances.ts';
import type { Database } from '../store/sql.ts';
import { deleteVpcState, loadVpcStates, storeVpcState } from '../store/vpc-states.ts';
import type { HostSessions } from './sessions.ts';

export interface VpcStatesOptions {
  readonly db: Database;
  readonly region: Caller<typeof regionContract>;
  readonly hosts: HostSessions;
  readonly log: Logger;
}

const keyOf = (hostId: string, vpcId: string): string => `${hostId} ${vpcId}`;

const knows = ({ groups }: VpcState, groupIds: readonly string[]): boolean => {
  const known = new Set(groups.map(({ groupId }) => groupId));
  return groupIds.every((id) => known.has(id));
};

export class VpcStates {
  readonly #options: VpcStatesOptions;
  readonly #states = new Map<string, VpcState>();
  readonly #asking = new Map<string, Promise<VpcState>>();
  readonly #unsaved = new Set<string>();
  readonly #applied = new Map<string, number>();
  readonly #inFlight = new Map<string, Promise<void>>();
  readonly #behind = new Map<string, { hostId: string; vpcId: string }>();

  constructor(options: VpcStatesOptions) {
    this.#options = options;
  }

  /** Remembers a state unless a newer one is known. */
  observe(state: VpcState): void {
    const known = this.#states.get(state.vpcId);
    if (known !== undefined && known.version >= state.version) return;
    // Many hosts are told it, and each launch carries it.
    this.#states.set(state.vpcId, encodeOnce(state));
    this.#unsaved.add(state.vpcId);
  }

  /** A state that knows all of these groups: the one at hand, else the region's. */
  async current(vpcId: string, groupIds: readonly string[]): Promise<VpcState> {
    const known = this.#states.get(vpcId);
    if (known !== undefined && knows(known, groupIds)) return known;
    // Launches that need it at the same time share one answer; one that finds it too old asks anew.
    const state = await (this.#asking.get(vpcId) ?? this.#ask(vpcId));
    if (knows(state, groupIds)) return state;
    return this.#ask(vpcId);
  }

  #ask(vpcId: string): Promise<VpcState> {
    const asked = this.#options.region.call('region.vpcState', { vpcId }).then(({ state }) => {
      this.observe(state);
      return state;
    });
    this.#asking.set(vpcId, asked);
    const done = (): void => {
      if (this.#asking.get(vpcId) === asked) this.#asking.delete(vpcId);
    };
    asked.then(done, done);
    return asked;
  }

  /** Notes what a card has after a call that carried a state with it. */
  noteApplied(hostId: string, vpcId: string, version: number): void {
    const key = keyOf(hostId, vpcId);
    if ((this.#applied.get(key) ?? 0) < version) this.#applied.set(key, version);
  }

  /** The region's push: tells every connected host that has a port in the VPC; answers which could not be told. */
  async push(state: VpcState): Promise<{ version: number; unreachable: string[] }> {
    this.observe(state);
    const unreachable: string[] = [];
    await Promise.all(
      (await hostsOfVpc(this.#options.db, state.vpcId)).map(async (hostId) => {
        if (!(await this.#tell(hostId, state.vpcId, state.version))) unreachable.push(hostId);
      }),
    );
    return { version: state.version, unreachable };
  }

  async remove(vpcId: string): Promise<void> {
    this.#states.delete(vpcId);
    this.#unsaved.delete(vpcId);
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
    const has = new Map(status.vpcs.map((vpc) => [vpc.vpcId, vpc.version]));
    for (const [vpcId, version] of has) this.#applied.set(keyOf(hostId, vpcId), version);
    // The race with a launch: its row is durable before its first command, so rows that are read after the card's list explain all of it.
    const needed = await readNeeded();
    for (const vpcId of has.keys()) if (!needed.has(vpcId)) await this.#removeFrom(hostId, vpcId, readNeeded);
    for (const vpcId of needed) {
      const state = await this.#newest(vpcId);
      if (state !== undefined && (has.get(vpcId) ?? 0) < state.version)
        await this.#tell(hostId, vpcId, state.version);
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
    try {
      await hosts.card(hostId, 'card.removeVpc', { vpcId });
    } catch (error) {
      if (PandoError.from(error).code !== 'Conflict') throw error;
      log.warn(
        { host: hostId, vpc: vpcId },
        'the card keeps a VPC that no instance of this host is in: it has ports',
      );
    }
  }

  forgetHost(hostId: string): void {
    for (const key of this.#applied.keys()) if (key.startsWith(`${hostId} `)) this.#applied.delete(key);
  }

  /** Tells again the connected hosts that are behind. */
  async retryBehind(): Promise<void> {
    for (const { hostId, vpcId } of [...this.#behind.values()]) {
      const state = this.#states.get(vpcId);
      if (state === undefined || !this.#options.hosts.has(hostId)) continue;
      await this.#tell(hostId, vpcId, state.version);
    }
  }

  /** Saves what was heard. Behind the pushes: it is a copy of the region's truth, kept for when the region is away. */
  async save(): Promise<void> {
    for (const vpcId of [...this.#unsaved]) {
      const state = this.#states.get(vpcId);
      this.#unsaved.delete(vpcId);
      if (state === undefined) continue;
      await storeVpcState(this.#options.db, state).catch((error: unknown) => {
        this.#unsaved.add(vpcId);
        throw error;
      });
    }
  }

  /** The region's state if it answers, else the newest that the cell has. */
  async #newest(vpcId: string): Promise<VpcState | undefined> {
    try {
      const { state } = await this.#options.region.call(
        'region.vpcState',
        { vpcId },
        { timeoutMs: vpcPushTimeoutMs },
      );
      this.observe(state);
    } catch (error) {
      if (PandoError.from(error).code === 'InvalidVpcID.NotFound') return undefined;
      for (const state of await loadVpcStates(this.#options.db, [vpcId])) this.observe(state);
    }
    return this.#states.get(vpcId);
  }

  async #tell(hostId: string, vpcId: string, version: number): Promise<boolean> {
    const key = keyOf(hostId, vpcId);
    try {
      await this.#bring(hostId, vpcId, version);
      this.#behind.delete(key);
      return true;
    } catch (error) {
      this.#behind.set(key, { hostId, vpcId });
      this.#options.log.warn(
        { host: hostId, vpc: vpcId, version, code: PandoError.from(error).code },
        'card is behind',
      );
      return false;
    }
  }

  /** One call at a time per card and VPC, each with the newest state: pushes that pile up behind a slow card become one. */
  async #bring(hostId: string, vpcId: string, version: number): Promise<void> {
    const key = keyOf(hostId, vpcId);
    while ((this.#applied.get(key) ?? 0) < version) {
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
    const state = this.#states.get(vpcId);
    if (state === undefined) throw new PandoError('NotFound', `The state of ${vpcId} is not known here.`);
    try {
      await this.#options.hosts.card(hostId, 'card.applyVpc', { state }, { timeoutMs: vpcPushTimeoutMs });
    } catch (error) {
      // A card that has a newer state than ours is not behind.
      if (PandoError.from(error).code !== 'StaleEpoch') throw error;
    }
    this.#applied.set(key, Math.max(this.#applied.get(key) ?? 0, state.version));
  }
}
