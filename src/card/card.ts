/** The operations of a card on its ports. Each is idempotent and serialized per VPC. */
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { assertGroups } from '#base/network/needs.ts';
import { type ProbeReport, type ProbeRequest, probeVpcId } from '#contracts/card-probe.ts';
import { PandoError } from '#contracts/errors.ts';
import type { NetworkOperation, TrackedFlow, VmMetadata, VpcPort, VpcState } from '#contracts/network.ts';
import type { DeviceObjects, DeviceTransaction, FleetBody } from '#contracts/network-objects.ts';
import { Device } from './device.ts';
import { EmptyVpcs } from './emptyVpcs.ts';
import { flowStatements, parseFlows } from './flows.ts';
import type { HeardPort, Hearing } from './hearing.ts';
import { askOverArp } from './kernel/arpProbe.ts';
import { portCounters } from './kernel/counters.ts';
import { keepTools, readNet, runInside, takeTap } from './kernel/namespace.ts';
import { tapEmptied } from './kernel/tapBacklog.ts';
import {
  arpProbeEveryMs,
  arpProbesAtOnceMax,
  emptyVpcKeptMs,
  importedFlowsMax,
  vxlanPort,
} from './limits.ts';
import { desiredOnCard } from './model/desired.ts';
import { cardHolders } from './model/holders.ts';
import type { Model } from './model/model.ts';
import type { Endpoint, LocalPort } from './model/place.ts';
import { word } from './model/safe.ts';
import { operation } from './operation.ts';
import { Plugs, toOverlay, toTap } from './plugs.ts';
import { Probe } from './probe/probe.ts';
import type { Programs } from './program/programs.ts';
import type { Services } from './services.ts';
import type { Underlay } from './underlay.ts';
import type { Vpc } from './vpc.ts';

export interface CardOptions {
  readonly vtep: string;
  readonly namespacePrefix: string;
  readonly stateDir: string;
  readonly services: Services;
  readonly log: Logger;
  readonly hearing: Hearing;
  /** Default: {@link emptyVpcKeptMs}. */
  readonly emptyVpcKeptMs?: number | undefined;
  readonly underlay?: Underlay | undefined;
  readonly programs?: Programs | undefined;
}

export class Card {
  readonly device: Device;
  readonly #vtep: string;
  readonly #services: Services;
  readonly #log: Logger;
  readonly #empty: EmptyVpcs;
  readonly #plugs: Plugs;
  readonly #hearing: Hearing;
  /** Ports whose guests are being asked over ARP. */
  readonly #probing = new Set<string>();
  /** When each was asked last; of those that are attached. */
  readonly #probedAt = new Map<string, number>();
  /** Redirections that are for now, and what takes each back. */
  readonly #lapses = new Map<string, NodeJS.Timeout>();
  readonly #ownGuest: Probe;

  constructor(options: CardOptions) {
    const { vtep, namespacePrefix, stateDir, services, log, hearing, emptyVpcKeptMs: keptMs } = options;
    this.#hearing = hearing;
    this.#vtep = vtep;
    this.#empty = new EmptyVpcs(keptMs ?? emptyVpcKeptMs, (vpcId) => this.#closeIfEmpty(vpcId));
    this.#services = services;
    this.#log = log;
    this.#plugs = new Plugs(log);
    this.device = new Device(
      {
        vtep,
        namespacePrefix,
        hasGuests: true,
        desired: (vpc, state, fleet) => this.#desired(vpc, state, fleet),
        holders: (vpc, state) => cardHolders(state, vpc, vtep),
        opened: async (vpc) => services.start(vpc),
        changed: (vpc) => services.update(vpc),
        closing: (vpc) => services.stop(vpc),
        forwards: ({ vpcId }) => this.#empty.forwards(vpcId),
        underlay: options.underlay,
        programs: options.programs,
      },
      stateDir,
      log,
    );
    this.#ownGuest = new Probe(vtep, stateDir, this, log);
  }

  /** Takes over what an earlier process left. A redirection that was for now is so for as long again. */
  async adopt(): Promise<void> {
    await this.device.adopt();
    await this.#ownGuest.remove();
    for (const { local } of this.ports()) {
      this.#letLapse(local.port.eniId, local.redirectLapseMs);
      this.#hearing.listen(local.port.eniId);
    }
  }

  async applyVpc(state: VpcState, from: number | undefined): Promise<{ version: number }> {
    this.#forwardNoMore(state.vpcId, state.version, state.ports);
    return this.device.applyVpc(state, from);
  }

  async transact(transaction: DeviceTransaction): Promise<DeviceObjects> {
    for (const { vpcId, version, set } of transaction.places) this.#forwardNoMore(vpcId, version, set);
    return this.device.transact(transaction);
  }

  /** What is declared knows now where these ports went. */
  #forwardNoMore(vpcId: string, version: number, ports: readonly VpcPort[]): void {
    const vpc = this.device.vpcs.get(vpcId);
    if (vpc === undefined || vpc.forwards.size === 0 || version <= vpc.parts.places.version) return;
    for (const { eniId, vtep } of ports)
      if (vtep !== undefined && vtep !== this.#vtep && vpc.forwards.delete(eniId))
        this.#empty.keep(vpcId, { forwards: true });
  }

  async removeVpc(vpcId: string): Promise<void> {
    await this.device.removeVpc(vpcId);
    this.#empty.forget(vpcId);
  }

  async prepareAdministrative(vpcId: string, eniId: string, metadata: VmMetadata): Promise<NetworkOperation> {
    const vpc = this.device.vpc(vpcId);
    return vpc.serialize(async () => {
      vpc.metadata.set(word(eniId), metadata);
      await (vpc.isOpen ? vpc.converge() : vpc.save());
      await this.#services.ready(vpc);
      return operation('administrative', eniId, {});
    });
  }

  /**
   * Records the port; once its tap is in the card's namespace, takes the tap into the VPC. An agent calls it twice: before the
   * VMM starts (a tap can only be opened where it is, so it is still the host's) and when the VMM holds the tap.
   */
  async attachPort(vpcId: string, port: VpcPort, tap: string, activate: boolean): Promise<NetworkOperation> {
    const vpc = this.device.vpc(vpcId);
    return vpc.serialize(async () => {
      const before = vpc.ports.get(port.eniId);
      if (before !== undefined && before.port.epoch > port.epoch)
        throw new PandoError('StaleEpoch', `${port.eniId} is attached here with epoch ${before.port.epoch}.`);
      if (before === undefined) assertGroups(vpc.parts, port);
      await vpc.ensureOpen();
      const wired = await this.#takeTap(vpc, word(tap), !activate);
      if (!activate) await keepTools(vpc.namespace);
      if (before === undefined || before.tap !== tap) this.#hearing.listen(port.eniId);
      const active = activate || (before?.active === true && before.tap === tap);
      vpc.ports.set(port.eniId, {
        tap,
        wired,
        port,
        active,
        redirect: activate ? undefined : before?.redirect,
        redirectLapseMs: activate ? undefined : before?.redirectLapseMs,
      });
      vpc.forwards.delete(port.eniId);
      await undoing(
        () => restorePort(vpc, port.eniId, before),
        () => vpc.converge(),
      );
      await this.#services.ready(vpc);
      return operation('vpc', port.eniId, { tap, mac: port.mac });
    });
  }

  /** Answers whether it is in the VPC's namespace. */
  async #takeTap(vpc: Vpc, tap: string, arrives: boolean): Promise<boolean> {
    try {
      const { wired, moved } = await takeTap(vpc.namespace, tap, { arrives });
      if (moved) vpc.deviceCameIn(tap);
      return wired;
    } catch (error) {
      // Another of its name may be gone by then.
      vpc.deviceCameIn(tap);
      throw error;
    }
  }

  /** Unknown: nothing. */
  async detachPort(eniId: string, forwardTo: string | undefined): Promise<void> {
    for (const vpc of this.device.vpcs.values())
      if (vpc.ports.has(eniId) || vpc.metadata.has(eniId) || vpc.forwards.has(eniId))
        await vpc.serialize(() => this.#detach(vpc, eniId, forwardTo));
  }

  async activatePort(eniId: string): Promise<void> {
    this.#letLapse(eniId, undefined);
    await this.#changePort(eniId, activated);
    await this.#plugs.release(eniId);
  }

  /** What arrives for the port from elsewhere goes to its tap, whose VM is about to run. */
  async expectPort(eniId: string): Promise<void> {
    await this.#changePort(eniId, (local) => ({ ...local, arriving: !local.active }));
  }

  /** Everything but the change of the route that {@link redirectPort} then is. */
  async prepareRedirect(eniId: string, to: Endpoint): Promise<void> {
    await this.#changePort(eniId, (local) => ({ ...local, preparedRedirect: to }));
  }

  /** `lapseMs`: back to the tap after that time, unless it is kept. */
  async redirectPort(eniId: string, to: Endpoint | undefined, lapseMs?: number): Promise<void> {
    const { vpc, local } = this.#find(eniId);
    const redirectLapseMs = to === undefined ? undefined : lapseMs;
    this.#letLapse(eniId, redirectLapseMs);
    const leavesTap = local.active && local.redirect === undefined && to !== undefined;
    await this.#changePort(
      eniId,
      (before) => ({ ...before, preparedRedirect: undefined, redirect: to, redirectLapseMs }),
      leavesTap ? () => tapEmptied(vpc.namespace, local.tap, this.#log) : undefined,
    );
    await this.#plugs.release(eniId);
  }

  /** A redirection to `to` does not lapse any more. Another has taken its place, or none is left: nothing. */
  async keepRedirect(eniId: string, to: Endpoint): Promise<void> {
    const { vpc } = this.#find(eniId);
    await vpc.serialize(async () => {
      const local = vpc.ports.get(eniId);
      if (local?.redirect?.ip !== to.ip || local.redirect.port !== to.port) return;
      this.#letLapse(eniId, undefined);
      vpc.ports.set(eniId, { ...local, redirectLapseMs: undefined });
      await vpc.save();
    });
  }

  /** Whoever redirected may have died before the guest was handed over: then it runs here, and its packets come back. */
  #letLapse(eniId: string, lapseMs: number | undefined): void {
    clearTimeout(this.#lapses.get(eniId));
    this.#lapses.delete(eniId);
    if (lapseMs === undefined) return;
    const lapse = (): void => {
      if (this.#lapses.get(eniId) !== timer) return;
      this.#lapses.delete(eniId);
      this.#takeBack(eniId).catch((error: unknown) =>
        this.#log.error({ err: error, eniId }, 'a redirection was not taken back'),
      );
    };
    // Where this process stood still meanwhile, the word that keeps it may be there to be read.
    const timer = setTimeout(() => setImmediate(lapse), lapseMs).unref();
    this.#lapses.set(eniId, timer);
  }

  /** A redirection that is still for now; what was said of it while others were in the VPC's queue counts. */
  async #takeBack(eniId: string): Promise<void> {
    await this.#changePort(eniId, (local) => {
      if (local.redirectLapseMs === undefined) return local;
      this.#log.warn({ eniId }, 'a redirection that nobody confirmed is taken back');
      return { ...local, preparedRedirect: undefined, redirect: undefined, redirectLapseMs: undefined };
    });
    await this.#plugs.release(eniId);
  }

  async exportFlows(eniId: string): Promise<TrackedFlow[]> {
    const { vpc, local } = this.#find(eniId);
    return parseFlows(await readNet(vpc.namespace, 'nf_conntrack'), local.port.ip);
  }

  async importFlows(eniId: string, flows: readonly TrackedFlow[]): Promise<void> {
    const { vpc } = this.#find(eniId);
    if (flows.length > importedFlowsMax)
      throw new PandoError('InvalidParameterValue', `At most ${importedFlowsMax} flows can be imported.`);
    const statements = flowStatements(flows);
    if (statements.length === 0) return;
    await vpc.serialize(() => {
      vpc.importsFlows();
      return runInside(vpc.namespace, `nft -f - <<'END'\n${statements.join('\n')}\nEND\n`);
    });
  }

  probe(request: ProbeRequest): Promise<ProbeReport> {
    return this.#ownGuest.measure(request);
  }

  /** Every local port of a tenant with its VPC. */
  ports(): { vpcId: string; local: LocalPort }[] {
    return [...this.device.vpcs.values()].flatMap(({ vpcId, ports }) =>
      vpcId === probeVpcId ? [] : [...ports.values()].map((local) => ({ vpcId, local })),
    );
  }

  async counters(): Promise<Awaited<ReturnType<typeof portCounters>>> {
    const open = [...this.device.vpcs.values()].filter(
      (vpc) => vpc.isOpen && vpc.ports.size > 0 && vpc.vpcId !== probeVpcId,
    );
    return (await Promise.all(open.map(countersOf))).flat();
  }

  /** What has been heard of the guests here. Those of `probe` are asked; what they say is in a later answer. */
  heard(probe: readonly string[]): HeardPort[] {
    this.#probe(new Set(probe));
    return this.ports().flatMap(({ local }) =>
      local.wired ? (this.#hearing.of(local.port.eniId) ?? []) : [],
    );
  }

  #probe(wanted: ReadonlySet<string>): void {
    for (const vpc of this.device.vpcs.values()) {
      // Not of one that is being moved: its entries are the migration's.
      const ports = [...vpc.ports.values()]
        .filter(
          ({ port, wired, active, redirect, preparedRedirect }) =>
            wired &&
            active &&
            redirect === undefined &&
            preparedRedirect === undefined &&
            wanted.has(port.eniId),
        )
        .filter(({ port }) => this.#mayProbe(port.eniId))
        .slice(0, Math.max(0, arpProbesAtOnceMax - this.#probing.size));
      if (ports.length > 0 && vpc.isOpen) void this.#ask(vpc, ports);
    }
  }

  #mayProbe(eniId: string): boolean {
    const before = this.#probedAt.get(eniId) ?? Number.NEGATIVE_INFINITY;
    return !this.#probing.has(eniId) && monotonicMs() - before >= arpProbeEveryMs;
  }

  async #ask(vpc: Vpc, locals: readonly LocalPort[]): Promise<void> {
    for (const { port } of locals) {
      this.#probing.add(port.eniId);
      this.#probedAt.set(port.eniId, monotonicMs());
    }
    try {
      const probed = locals.map(({ port, tap }) => ({ ip: word(port.ip), mac: word(port.mac), tap }));
      const answered = await askOverArp(vpc.namespace, probed);
      for (const { port, tap } of locals) if (answered.has(tap)) this.#hearing.heard('arp', port.eniId);
    } catch (error) {
      this.#log.debug({ err: error, vpcId: vpc.vpcId }, 'guests were not asked over ARP');
    } finally {
      for (const { port } of locals) this.#probing.delete(port.eniId);
    }
  }

  #desired(vpc: Vpc, state: VpcState | undefined, fleet: FleetBody): Model | undefined {
    const needed = vpc.ports.size > 0 || vpc.forwards.size > 0 || this.#empty.has(vpc.vpcId);
    if (state === undefined || !needed) return undefined;
    return desiredOnCard(state, vpc, vpc.metadata, this.#vtep, fleet);
  }

  /** Where the port was: what is sent on to it waits. Where it is now: it is reached without the tunnel from here on, behind a plug. */
  async plugPort(eniId: string): Promise<void> {
    const { vpc, local } = this.#find(eniId);
    const outlet =
      local.redirect === undefined
        ? toTap(vpc.namespace, local.tap)
        : toOverlay(vpc.namespace, local.port.ip);
    await vpc.serialize(async () => {
      await keepTools(vpc.namespace);
      await this.#plugs.plug(eniId, outlet);
    });
    if (local.redirect === undefined) await this.#changePort(eniId, activated);
  }

  async #detach(vpc: Vpc, eniId: string, forwardTo: string | undefined): Promise<void> {
    const local = vpc.ports.get(eniId);
    this.#letLapse(eniId, undefined);
    vpc.ports.delete(eniId);
    this.#hearing.forget(eniId);
    this.#probedAt.delete(eniId);
    vpc.metadata.delete(eniId);
    const declared = vpc.state?.ports.find((port) => port.eniId === eniId)?.vtep;
    if (forwardTo === undefined) vpc.forwards.delete(eniId);
    else if (declared === undefined || declared === this.#vtep) vpc.forwards.set(eniId, forwardTo);
    if (vpc.isOpen && vpc.ports.size === 0)
      this.#empty.keep(vpc.vpcId, { forwards: forwardTo !== undefined });
    await vpc.apply();
    // Before the port is forgotten on disk: a card that dies in between is told again, and still knows whose tap it is.
    if (local?.wired && vpc.isOpen)
      await runInside(vpc.namespace, `ip link del dev ${local.tap} 2>/dev/null || true\n`);
    await vpc.save();
  }

  /** `andThen` begins as soon as the kernel has changed, beside the writing down. */
  async #changePort(
    eniId: string,
    change: (local: LocalPort) => LocalPort,
    andThen?: () => Promise<void>,
  ): Promise<void> {
    const { vpc } = this.#find(eniId);
    await vpc.serialize(async () => {
      const local = vpc.ports.get(eniId);
      if (local === undefined) throw notAttached(eniId);
      await keepTools(vpc.namespace);
      vpc.ports.set(eniId, change(local));
      const queued = hasQueuedPort(vpc);
      if (queued) await vpc.setOverlayOffloads(false);
      await undoing(
        () => restorePort(vpc, eniId, local),
        () => vpc.apply(),
      );
      await Promise.all([vpc.save(), andThen?.()]);
      if (!queued) await vpc.setOverlayOffloads(true);
    });
  }

  /** It was kept long enough; a port that has come since keeps it for itself. */
  #closeIfEmpty(vpcId: string): void {
    const vpc = this.device.vpcs.get(vpcId);
    vpc
      ?.serialize(() => vpc.converge())
      .catch((error: unknown) => this.#log.error({ err: error, vpcId }, 'an empty VPC was not closed'));
  }

  #find(eniId: string): { vpc: Vpc; local: LocalPort } {
    for (const vpc of this.device.vpcs.values()) {
      const local = vpc.ports.get(eniId);
      if (local !== undefined) return { vpc, local };
    }
    throw notAttached(eniId);
  }
}

/** Nothing of a VPC whose namespace is removed while it is asked. */
const countersOf = (vpc: Vpc): ReturnType<typeof portCounters> =>
  portCounters(vpc.namespace, vpc.ports).catch((error: unknown) => {
    if (vpc.isOpen && vpc.ports.size > 0) throw error;
    return [];
  });

const activated = (local: LocalPort): LocalPort => ({
  ...local,
  ...{ active: true, arriving: undefined, preparedRedirect: undefined },
  ...{ redirect: undefined, redirectLapseMs: undefined },
});

const undoing = async (undo: () => void, work: () => Promise<void>): Promise<void> => {
  try {
    await work();
  } catch (error) {
    undo();
    throw error;
  }
};

const restorePort = (vpc: Vpc, eniId: string, before: LocalPort | undefined): void => {
  if (before === undefined) vpc.ports.delete(eniId);
  else vpc.ports.set(eniId, before);
};

/**
 * A queue reads datagrams in user space, where nobody fills in checksums or cuts big segments later: while a port of the VPC is
 * redirected to one, the overlay device does that itself.
 */
const hasQueuedPort = (vpc: Vpc): boolean =>
  [...vpc.ports.values()].some(({ preparedRedirect, redirect }) =>
    [preparedRedirect, redirect].some((to) => to !== undefined && to.port !== vxlanPort),
  );

const notAttached = (eniId: string): PandoError =>
  new PandoError('InvalidNetworkInterfaceID.NotFound', `${eniId} is not attached to this card.`);
