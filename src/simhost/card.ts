/** A simulated card: keeps VPC states, ports and queues with the rules of a real one, and moves no packet. */
import { randomUUID } from 'node:crypto';
import { monotonicMs } from '#base/monotonic.ts';
import { type Fence, obey } from '#base/network/fence.ts';
import { assertGroups } from '#base/network/needs.ts';
import type { Objects } from '#base/network/objects.ts';
import { isDeclared, noParts, partsOf, stateOf, type VpcParts } from '#base/network/parts.ts';
import { checkMembers, datagramsPerProbe } from '#base/network/probe.ts';
import {
  describeDevice,
  type HasNow,
  planTransaction,
  takeBack,
  type Undo,
  vpcsOf,
} from '#base/network/transaction.ts';
import { Unconfirmed } from '#base/network/unconfirmed.ts';
import type { Params, Result } from '#base/rpc/contract.ts';
import { cardContract, forwardsMsMin, presentQueueMode } from '#contracts/card.ts';
import type { ProbeReport, ProbeRequest } from '#contracts/card-probe.ts';
import { PandoError } from '#contracts/errors.ts';
import type { NetworkOperation, VpcPort, VpcState } from '#contracts/network.ts';
import type { DeviceObjects, DeviceTransaction } from '#contracts/network-objects.ts';
import { simulatedPreview } from './kernelPreview.ts';

interface Port {
  readonly vpcId: string;
  readonly tap: string;
  readonly port: VpcPort;
  active: boolean;
  redirect?: { readonly ip: string; readonly port: number };
  /** Takes a redirection back that nobody has confirmed. */
  redirectLapse?: NodeJS.Timeout;
}

interface Queue {
  readonly mode: 'pass' | 'buffer';
  /** Where buffered packets go when their time is over: this underlay address. */
  readonly lapsedTo?: string;
  readonly settled: boolean;
  readonly lapse?: { readonly ms: number; readonly to: string } | undefined;
  readonly deadMan?: NodeJS.Timeout | undefined;
}

type HeardIn = 'dhcp' | 'metadata' | 'arp';
type Card = typeof cardContract;
type CardMethod = keyof Card;
type Handler = (params: unknown) => unknown;

const idle = { held: 0, heldBytes: 0, forwarded: 0, dropped: 0 };
const queuePort = 20_000;

export class SimCard {
  readonly vtep: string;
  readonly #startedAt = new Date().toISOString();
  readonly parts = new Map<string, VpcParts>();
  /** The installation's objects. */
  fleet: Objects = new Map();
  #fence: Fence | undefined;
  readonly #unconfirmed = new Unconfirmed((_id, undo) => this.#takeBack(undo));
  readonly ports = new Map<string, Port>();
  readonly queues = new Map<string, Queue>();
  readonly administrative = new Set<string>();
  /** Interfaces that moved away, and the underlay address that their packets are forwarded to. */
  readonly forwarding = new Map<string, string>();
  /** By VPC: until when its last port's packets are forwarded, as is promised. */
  readonly #forwardsUntilMs = new Map<string, number>();
  /** What guests have been heard in; by interface. */
  readonly heard = new Map<string, { readonly sinceMs: number; readonly at: Map<HeardIn, number> }>();

  /** Interfaces whose guests have no address. */
  readonly mute = new Set<string>();

  constructor(vtep: string) {
    this.vtep = vtep;
  }

  /** A guest asks for something, or answers. */
  hear(how: HeardIn, eniId: string): void {
    this.heard.get(eniId)?.at.set(how, monotonicMs());
  }

  /** Answers a call by the card's contract. @throws InvalidParameterValue */
  handle(method: CardMethod, params: unknown): unknown {
    const parsed = cardContract[method].params.safeParse(params);
    if (!parsed.success)
      throw new PandoError('InvalidParameterValue', `${method}: ${parsed.error.issues[0]?.message}`);
    const handler: Handler = this.#handlers[method] as Handler;
    return handler(parsed.data) ?? {};
  }

  applyVpc(state: VpcState): number {
    checkId(state.vpcId);
    const known = this.parts.get(state.vpcId);
    if (known !== undefined && known.places.version > state.version)
      throw new PandoError('StaleEpoch', `${state.vpcId} is at version ${known.places.version}.`);
    if (known?.places.version !== state.version) this.parts.set(state.vpcId, partsOf(state, known));
    return state.version;
  }

  /** The whole documents that its parts give. */
  get vpcs(): ReadonlyMap<string, VpcState> {
    const states = [...this.parts.values()].map(stateOf).filter((state) => state !== undefined);
    return new Map(states.map((state) => [state.vpcId, state]));
  }

  transact(transaction: DeviceTransaction): DeviceObjects {
    for (const vpcId of vpcsOf(transaction)) checkId(vpcId);
    const fence = obey(this.#fence, transaction.fence);
    const takesBack = this.#unconfirmed.check(transaction);
    const planned = planTransaction(this.#hasNow, transaction);
    for (const [vpcId, parts] of planned.vpcs)
      if (!isDeclared(parts) && this.#hasPorts(vpcId))
        throw new PandoError('Conflict', `${vpcId} has ports here.`);
    this.fleet = planned.fleet;
    for (const [vpcId, parts] of planned.vpcs) this.#keep(vpcId, parts);
    this.#fence = fence;
    for (const each of takesBack) this.#unconfirmed.drop(each);
    const { transactionId, confirmWithinMs } = transaction;
    if (transactionId !== undefined && confirmWithinMs !== undefined)
      this.#unconfirmed.wait(transactionId, planned.undo, confirmWithinMs);
    return describeDevice(planned.fleet, planned.vpcs.values());
  }

  get #hasNow(): HasNow {
    const attached = (vpcId: string): VpcPort[] =>
      [...this.ports.values()].flatMap((each) => (each.vpcId === vpcId ? [each.port] : []));
    return { fleet: this.fleet, parts: (vpcId) => this.#partsOf(vpcId), attached };
  }

  #takeBack(undo: readonly Undo[]): void {
    const byVpc = Map.groupBy(undo, ({ vpcId }) => vpcId);
    this.fleet = takeBack(this.fleet, byVpc.get(undefined) ?? []);
    for (const [vpcId, own] of byVpc) {
      if (vpcId === undefined) continue;
      const parts = this.#partsOf(vpcId);
      this.#keep(vpcId, { ...parts, objects: takeBack(parts.objects, own) });
    }
  }

  #partsOf(vpcId: string): VpcParts {
    return this.parts.get(vpcId) ?? noParts(vpcId);
  }

  #keep(vpcId: string, parts: VpcParts): void {
    if (parts.objects.size === 0 && parts.places.entries.size === 0) this.parts.delete(vpcId);
    else this.parts.set(vpcId, parts);
  }

  #hasPorts(vpcId: string): boolean {
    return [...this.ports.values()].some((port) => port.vpcId === vpcId);
  }

  prepareAdministrative(eniId: string): NetworkOperation {
    this.administrative.add(eniId);
    return operation('administrative', {});
  }

  attachPort(vpcId: string, port: VpcPort, tap: string, activate: boolean): NetworkOperation {
    if (!isDeclared(this.#partsOf(vpcId)))
      throw new PandoError('InvalidVpcID.NotFound', `${vpcId} has not been declared to this card.`);
    const known = this.ports.get(port.eniId);
    if (known !== undefined && known.port.epoch > port.epoch)
      throw new PandoError('StaleEpoch', `${port.eniId} is attached here with epoch ${known.port.epoch}.`);
    if (known === undefined) assertGroups(this.#partsOf(vpcId), port);
    this.forwarding.delete(port.eniId);
    if (known?.tap !== tap) this.heard.set(port.eniId, { sinceMs: monotonicMs(), at: new Map() });
    this.ports.set(port.eniId, { vpcId, tap, port, active: activate || (known?.active ?? false) });
    return operation('vpc', { tap, mac: port.mac });
  }

  /** A port of before the host's process was started again. Its VPC's state comes with the cell's next comparison. */
  restorePort({ vpcId, port }: { readonly vpcId: string; readonly port: VpcPort }): void {
    this.administrative.add(port.eniId);
    this.ports.set(port.eniId, { vpcId, tap: tapOf(port.eniId), port, active: true });
  }

  detachPort(eniId: string, forwardTo?: string): void {
    const port = this.ports.get(eniId);
    clearTimeout(port?.redirectLapse);
    this.ports.delete(eniId);
    if (port !== undefined && forwardTo !== undefined && !this.#hasPorts(port.vpcId))
      this.#forwardsUntilMs.set(port.vpcId, monotonicMs() + forwardsMsMin);
    this.heard.delete(eniId);
    this.#closeQueue(eniId);
    this.administrative.delete(eniId);
    if (forwardTo !== undefined) this.forwarding.set(eniId, forwardTo);
  }

  readonly #handlers: {
    readonly [M in CardMethod]: (params: Params<Card, M>) => Result<Card, M> | undefined;
  } = {
    'card.status': () => ({
      vtep: this.vtep,
      netns: 'sim',
      startedAt: this.#startedAt,
      vpcs: [...this.parts.values()]
        .filter(isDeclared)
        .map(({ vpcId, places: { version } }) => ({ vpcId, version })),
      ports: [...this.ports].map(([eniId, { vpcId, tap, port }]) => ({
        eniId,
        vpcId,
        tap,
        epoch: port.epoch,
      })),
    }),
    'card.applyVpc': ({ from, state }) => {
      const version = this.#partsOf(state.vpcId).places.version;
      // An older state is told that it is older, and a change whose answer was lost is there already.
      if (from !== undefined && from !== version && version < state.version)
        throw new PandoError('Conflict', `${state.vpcId} is at ${version}, not ${from}.`);
      return { version: this.applyVpc(state) };
    },
    'card.objects': ({ vpcIds }) => {
      const asked = vpcIds === undefined ? undefined : new Set(vpcIds);
      const known = [...this.parts.values()].filter(({ vpcId }) => asked?.has(vpcId) !== false);
      return describeDevice(this.fleet, known);
    },
    'card.transact': (transaction) => this.transact(transaction),
    'card.preview': (transaction) => {
      for (const vpcId of vpcsOf(transaction)) checkId(vpcId);
      this.#unconfirmed.check(transaction);
      const planned = planTransaction(this.#hasNow, transaction);
      const { vtep, fleet } = this;
      return simulatedPreview({
        ...{ vtep, fleet, planned },
        ...{ ports: this.ports.values(), parts: this.parts.values() },
      });
    },
    'card.confirm': ({ transactionId, fence }) => {
      this.#fence = obey(this.#fence, fence);
      this.#unconfirmed.confirm(transactionId);
      return {};
    },
    'card.probe': (request) => simulatedProbe(this.vtep, request),
    'card.removeVpc': ({ vpcId }) => {
      if (this.#hasPorts(vpcId)) throw new PandoError('Conflict', `${vpcId} has ports here.`);
      if ((this.#forwardsUntilMs.get(vpcId) ?? 0) > monotonicMs())
        throw new PandoError('Conflict', `${vpcId} forwards.`);
      this.#forwardsUntilMs.delete(vpcId);
      this.parts.delete(vpcId);
      return {};
    },
    'card.prepareAdministrative': ({ eniId }) => this.prepareAdministrative(eniId),
    'card.attachPort': ({ vpcId, port, tap, activate }) => this.attachPort(vpcId, port, tap, activate),
    'card.detachPort': ({ eniId, forwardTo }) => {
      this.detachPort(eniId, forwardTo);
      return {};
    },
    'card.openQueue': ({ eniId, mode, lapse }) => {
      this.#portOf(eniId);
      this.#setQueue(eniId, presentQueueMode(mode), {
        lapse: lapse && { ms: lapse.ms, to: lapse.passTo.ip },
      });
      return { ip: this.vtep, port: queuePort };
    },
    'card.setQueue': ({ eniId, mode, settled }) => {
      if (!this.queues.has(eniId))
        throw new PandoError('InvalidNetworkInterfaceID.NotFound', `${eniId} has no open queue here.`);
      this.#setQueue(eniId, presentQueueMode(mode), { settled });
      return idle;
    },
    'card.closeQueue': ({ eniId }) => {
      this.#closeQueue(eniId);
      return idle;
    },
    'card.plugPort': ({ eniId }) => {
      const port = this.#portOf(eniId);
      if (port.redirect === undefined) port.active = true;
      return {};
    },
    'card.prepareRedirect': ({ eniId }) => {
      this.#portOf(eniId);
      return {};
    },
    'card.redirectPort': ({ eniId, to, lapseMs, keep }) => {
      const port = this.#portOf(eniId);
      if (keep && (port.redirect?.ip !== to?.ip || port.redirect?.port !== to?.port)) return {};
      clearTimeout(port.redirectLapse);
      if (to === undefined) delete port.redirect;
      else port.redirect = to;
      if (to !== undefined && lapseMs !== undefined)
        port.redirectLapse = setTimeout(() => delete port.redirect, lapseMs).unref();
      return {};
    },
    'card.exportFlows': ({ eniId }) => {
      this.#portOf(eniId);
      return { flows: [] };
    },
    'card.importFlows': ({ eniId }) => {
      this.#portOf(eniId);
      return {};
    },
    'card.activatePort': ({ eniId }) => {
      const port = this.#portOf(eniId);
      port.active = true;
      clearTimeout(port.redirectLapse);
      delete port.redirect;
      return {};
    },
    'card.heard': ({ probe = [] }) => {
      const now = monotonicMs();
      const ports = [...this.heard].map(([eniId, { sinceMs, at }]) => {
        const age = (how: HeardIn): number | undefined => {
          const heardAt = at.get(how);
          return heardAt === undefined ? undefined : now - heardAt;
        };
        const [dhcpMs, metadataMs, arpMs] = [age('dhcp'), age('metadata'), age('arp')];
        return { eniId, listenedMs: now - sinceMs, dhcpMs, metadataMs, arpMs };
      });
      // Every guest here has its address, and answers at once.
      for (const eniId of probe) if (!this.mute.has(eniId)) this.hear('arp', eniId);
      return { ports };
    },
    'card.counters': () => ({
      ports: [...this.ports.keys()].map((eniId) => ({
        eniId,
        rxBytes: 0,
        txBytes: 0,
        rxPackets: 0,
        txPackets: 0,
      })),
    }),
  };

  /** No packet moves here, so that the dead-man timer of a queue runs from the moment when it is made to buffer. */
  #setQueue(eniId: string, mode: Queue['mode'], change: Partial<Pick<Queue, 'lapse' | 'settled'>>): void {
    const known = this.queues.get(eniId);
    clearTimeout(known?.deadMan);
    const settled = change.settled ?? known?.settled ?? false;
    const lapse = change.lapse ?? known?.lapse;
    const queue: Queue = { mode: settled ? 'pass' : mode, settled, lapse };
    if (queue.mode === 'pass' || lapse === undefined) return void this.queues.set(eniId, queue);
    const lapsed = (): unknown =>
      this.queues.set(eniId, { mode: 'pass', settled, lapse, lapsedTo: lapse.to });
    this.queues.set(eniId, { ...queue, deadMan: setTimeout(lapsed, lapse.ms).unref() });
  }

  #closeQueue(eniId: string): void {
    clearTimeout(this.queues.get(eniId)?.deadMan);
    this.queues.delete(eniId);
  }

  /** The card's process is started again: what was in its memory is gone. */
  restart(): void {
    for (const [transactionId, undo] of this.#unconfirmed.all()) {
      this.#unconfirmed.drop(transactionId);
      this.#takeBack(undo);
    }
    for (const eniId of [...this.queues.keys()]) this.#closeQueue(eniId);
  }

  #portOf(eniId: string): Port {
    const port = this.ports.get(eniId);
    if (port === undefined)
      throw new PandoError('InvalidNetworkInterfaceID.NotFound', `${eniId} is not attached here.`);
    return port;
  }
}

const checkId = (vpcId: string): void => {
  if (!/^[A-Za-z0-9-]{1,64}$/.test(vpcId))
    throw new PandoError('InvalidParameterValue', `Not the id of a VPC: ${vpcId.slice(0, 80)}`);
};

/** The name of an interface's tap. */
export const tapOf = (eniId: string): string => `tap-${eniId.slice(-8)}`;

const operation = (
  kind: NetworkOperation['kind'],
  more: { tap?: string; mac?: string },
): NetworkOperation => ({
  operationId: randomUUID(),
  kind,
  ranOn: 'card',
  at: new Date().toISOString(),
  ...more,
});

/** Whatever is measured among simulated cards is as it should be. */
const simulatedProbe = (vtep: string, request: ProbeRequest): ProbeReport => {
  checkMembers(vtep, request);
  const { checks, targets } = request;
  const fine = { ok: true, ms: 1 };
  return {
    peers: targets.map((ip) => ({
      ...{ ip, sent: datagramsPerProbe, received: datagramsPerProbe, latencyMs: 0.5 },
      ...(checks.includes('tcp') && { tcp: fine }),
    })),
    ...(checks.includes('metadata') && { metadata: fine }),
    ...(checks.includes('counters') && { counters: { packets: 0, dropped: 0 } }),
  };
};
