/** A simulated card: keeps VPC states, ports and queues with the rules of a real one, and moves no packet. */
import { randomUUID } from 'node:crypto';
import type { Params, Result } from '#base/rpc/contract.ts';
import { cardContract, presentQueueMode } from '#contracts/card.ts';
import { PandoError } from '#contracts/errors.ts';
import type { NetworkOperation, VpcPort, VpcState } from '#contracts/network.ts';

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

type Card = typeof cardContract;
type CardMethod = keyof Card;
type Handler = (params: unknown) => unknown;

const idle = { held: 0, heldBytes: 0, forwarded: 0, dropped: 0 };
const queuePort = 20_000;

export class SimCard {
  readonly vtep: string;
  readonly #startedAt = new Date().toISOString();
  readonly vpcs = new Map<string, VpcState>();
  readonly ports = new Map<string, Port>();
  readonly queues = new Map<string, Queue>();
  readonly administrative = new Set<string>();
  /** Interfaces that moved away, and the underlay address that their packets are forwarded to. */
  readonly forwarding = new Map<string, string>();

  constructor(vtep: string) {
    this.vtep = vtep;
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
    if (!/^[A-Za-z0-9-]{1,64}$/.test(state.vpcId))
      throw new PandoError('InvalidParameterValue', `Not the id of a VPC: ${state.vpcId.slice(0, 80)}`);
    const known = this.vpcs.get(state.vpcId);
    if (known !== undefined && known.version > state.version)
      throw new PandoError('StaleEpoch', `${state.vpcId} is at version ${known.version}.`);
    this.vpcs.set(state.vpcId, state);
    return state.version;
  }

  prepareAdministrative(eniId: string): NetworkOperation {
    this.administrative.add(eniId);
    return operation('administrative', {});
  }

  attachPort(vpcId: string, port: VpcPort, tap: string, activate: boolean): NetworkOperation {
    if (!this.vpcs.has(vpcId))
      throw new PandoError('InvalidVpcID.NotFound', `${vpcId} has not been declared to this card.`);
    const known = this.ports.get(port.eniId);
    if (known !== undefined && known.port.epoch > port.epoch)
      throw new PandoError('StaleEpoch', `${port.eniId} is attached here with epoch ${known.port.epoch}.`);
    this.forwarding.delete(port.eniId);
    this.ports.set(port.eniId, { vpcId, tap, port, active: activate || (known?.active ?? false) });
    return operation('vpc', { tap, mac: port.mac });
  }

  detachPort(eniId: string, forwardTo?: string): void {
    clearTimeout(this.ports.get(eniId)?.redirectLapse);
    this.ports.delete(eniId);
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
      vpcs: [...this.vpcs.values()].map(({ vpcId, version }) => ({ vpcId, version })),
      ports: [...this.ports].map(([eniId, { vpcId, tap, port }]) => ({
        eniId,
        vpcId,
        tap,
        epoch: port.epoch,
      })),
    }),
    'card.applyVpc': ({ from, state }) => {
      const version = this.vpcs.get(state.vpcId)?.version ?? 0;
      // An older state is told that it is older, and a change whose answer was lost is there already.
      if (from !== undefined && from !== version && version < state.version)
        throw new PandoError('Conflict', `${state.vpcId} is at ${version}, not ${from}.`);
      return { version: this.applyVpc(state) };
    },
    'card.removeVpc': ({ vpcId }) => {
      if ([...this.ports.values()].some((port) => port.vpcId === vpcId))
        throw new PandoError('Conflict', `${vpcId} has ports here.`);
      this.vpcs.delete(vpcId);
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
    for (const eniId of [...this.queues.keys()]) this.#closeQueue(eniId);
  }

  #portOf(eniId: string): Port {
    const port = this.ports.get(eniId);
    if (port === undefined)
      throw new PandoError('InvalidNetworkInterfaceID.NotFound', `${eniId} is not attached here.`);
    return port;
  }
}

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
