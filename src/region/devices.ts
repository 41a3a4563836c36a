/** The devices that are told network state: a cell through any of its connected processors, and the internet gateway. */

import { monotonicMs } from '#base/monotonic.ts';
import { objectsFor } from '#base/network/needs.ts';
import type { Caller, Params, Result } from '#base/rpc/contract.ts';
import { cardContract } from '#contracts/card.ts';
import { probeTimeoutMs } from '#contracts/card-probe.ts';
import { PandoError } from '#contracts/errors.ts';
import { cellNumberOf } from '#contracts/ids.ts';
import { previewTimeoutMs } from '#contracts/kernel-preview.ts';
import type { VpcState } from '#contracts/network.ts';
import type { NetworkDevice } from '#contracts/network-objects.ts';
import { cellPushContract } from '#contracts/region.ts';
import type { DeviceRelay } from './device-relay.ts';
import { hasLost, type LostHistory, Peers } from './peers.ts';
import type { Device } from './push.ts';
import type { Replicas } from './replicas.ts';
import { objectsForCell, VpcPartsCache } from './vpc-parts.ts';

const applyTimeoutMs = 20_000;
const contentsTimeoutMs = 3_000;

/** A processor's (or the gateway's) stream, as far as pushing goes. */
export interface PushStream<C extends typeof cellPushContract | typeof cardContract> extends Caller<C> {
  readonly closed: boolean;
}

/** The region's other processes, as far as pushing goes, and asking single devices. */
export type Relay = Pick<Replicas, 'tell'> & {
  readonly calls?: Pick<DeviceRelay, 'has' | 'call' | 'isHere'>;
};

/** What of single devices is also asked over another process of the region. */
const relayedByCell = [
  'cell.devices',
  'cell.deviceObjects',
  'cell.transact',
  'cell.confirm',
  'cell.probe',
  'cell.preview',
] as const;
const relayedByGateway = ['card.objects', 'card.transact', 'card.confirm', 'card.preview'] as const;
type CellMethod = (typeof relayedByCell)[number];
type GatewayMethod = (typeof relayedByGateway)[number];
type CellContract = typeof cellPushContract;
type CardContract = typeof cardContract;

const timeoutOf = (method: CellMethod | GatewayMethod): number => {
  if (method === 'cell.probe') return probeTimeoutMs;
  return method === 'cell.preview' || method === 'card.preview' ? previewTimeoutMs : applyTimeoutMs;
};

const noSuchCall = (method: string): PandoError =>
  new PandoError('InvalidAction', `${method.slice(0, 80)} is not asked over another process.`);

/** An older state than the device's own is no failure: it has a newer one. */
const newerIsFine = (error: unknown): readonly string[] => {
  if (error instanceof PandoError && error.code === 'StaleEpoch') return [];
  throw error;
};

const hasPlacedPorts = ({ ports }: VpcState): boolean => ports.some(({ vtep }) => vtep !== undefined);

export class CellDevice implements Device {
  readonly name: string;
  readonly cellId: string;
  readonly number: number;
  readonly #streams = new Set<PushStream<typeof cellPushContract>>();
  readonly #peers: Peers<PushStream<typeof cellPushContract>>;
  readonly #parts: VpcPartsCache;
  readonly #relay: Relay | undefined;

  constructor(
    cellId: string,
    number: number,
    parts = new VpcPartsCache(),
    relay?: Relay,
    versions?: LostHistory,
  ) {
    this.#relay = relay;
    this.#parts = parts;
    this.#peers = new Peers(parts.recent, versions);
    this.name = `cell ${cellId}`;
    this.cellId = cellId;
    this.number = number;
  }

  get connected(): number {
    return this.#streams.size;
  }

  join(stream: PushStream<typeof cellPushContract>): void {
    this.#streams.add(stream);
    this.#relay?.calls?.isHere(this.name);
  }

  leave(stream: PushStream<typeof cellPushContract>): void {
    this.#streams.delete(stream);
  }

  /** Only VPCs that have an interface placed in this cell. */
  wants(state: VpcState): boolean {
    return state.ports.some(
      (port) =>
        port.vtep !== undefined &&
        port.instanceId !== undefined &&
        cellNumberOf(port.instanceId) === this.number,
    );
  }

  get isHere(): boolean {
    return this.#streams.size > 0;
  }

  async apply(state: VpcState): Promise<readonly string[]> {
    const relayed = this.isHere ? undefined : this.#relay?.tell(this.name, state.vpcId, state.version);
    if (relayed !== undefined) return relayed;
    return this.#any((stream) => this.#tell(stream, state)).catch(newerIsFine);
  }

  /** In parts; a processor of the last release the whole of it. */
  async #tell(stream: PushStream<typeof cellPushContract>, state: VpcState): Promise<readonly string[]> {
    const parts = this.#parts.of(state);
    const wanted = objectsForCell(parts, this.number);
    const told = await this.#peers.tell(stream, parts, wanted, {
      ask: (vpcId) => stream.call('cell.objects', { vpcIds: [vpcId] }, { timeoutMs: applyTimeoutMs }),
      tell: (change) => stream.call('cell.applyParts', change, { timeoutMs: applyTimeoutMs }),
    });
    return (told ?? (await stream.call('cell.applyVpc', { state }, { timeoutMs: applyTimeoutMs })))
      .unreachable;
  }

  /** Whether its devices can be asked: from here, or over another process of the region. */
  get isReached(): boolean {
    return this.isHere || this.#relay?.calls?.has(this.name) === true;
  }

  /** As of the device with this id, which is in this cell. */
  device(deviceId: string): NetworkDevice {
    return {
      deviceId,
      objects: (vpcIds) => this.#ask('cell.deviceObjects', { deviceId, vpcIds: vpcIds && [...vpcIds] }),
      transact: (transaction) => this.#ask('cell.transact', { deviceId, transaction }),
      preview: (transaction) => this.#ask('cell.preview', { deviceId, transaction }),
      confirm: async (transactionId, fence) => {
        await this.#ask('cell.confirm', { deviceId, transactionId, fence });
      },
      probe: (probe) => this.#ask('cell.probe', { deviceId, probe }),
    };
  }

  /** The cards of the cell's hosts, as one of its processors knows them. */
  devices(): Promise<Result<CellContract, 'cell.devices'>> {
    return this.#ask('cell.devices', {});
  }

  #ask<M extends CellMethod>(method: M, params: Params<CellContract, M>): Promise<Result<CellContract, M>> {
    const timeoutMs = timeoutOf(method);
    const calls = this.isHere ? undefined : this.#relay?.calls;
    if (calls === undefined || !calls.has(this.name))
      return this.#any((stream) => stream.call(method, params, { timeoutMs }));
    const answer = calls.call(this.name, method, params, timeoutMs);
    // One method and its own checked answer: what the compiler cannot tell apart is the union of them.
    return answer.then((value) => cellPushContract[method].result.parse(value) as Result<CellContract, M>);
  }

  /** Asked by another process of the region; over a stream of this one's own, never on to a third. */
  async serve(method: string, params: unknown): Promise<unknown> {
    const asked = relayedByCell.find((each) => each === method);
    if (asked === undefined) throw noSuchCall(method);
    const parsed = cellPushContract[asked].params.parse(params) as Params<CellContract, typeof asked>;
    return this.#any((stream) => stream.call(asked, parsed, { timeoutMs: timeoutOf(asked) }));
  }

  async remove(vpcId: string): Promise<void> {
    await this.#any((stream) => {
      this.#peers.forget(stream, vpcId);
      return stream.call('cell.removeVpc', { vpcId }, { timeoutMs: applyTimeoutMs });
    });
  }

  /** What the cell says that it has. */
  contents(): Promise<Result<typeof cellPushContract, 'cell.contents'>> {
    return this.#any((stream) => stream.call('cell.contents', {}, { timeoutMs: contentsTimeoutMs }));
  }

  /** What the cell says of its own instances. */
  instances(instanceIds: readonly string[]): Promise<Result<typeof cellPushContract, 'cell.instances'>> {
    const params = { instanceIds: [...instanceIds] };
    return this.#any((stream) => stream.call('cell.instances', params, { timeoutMs: applyTimeoutMs }));
  }

  /** Which of these dedicated hosts it says that the account has. */
  dedicatedHosts(
    accountId: string,
    hostIds: readonly string[],
  ): Promise<Result<typeof cellPushContract, 'cell.dedicatedHosts'>> {
    const params = { accountId, hostIds: [...hostIds] };
    return this.#any((stream) =>
      stream.call('cell.dedicatedHosts', params, { timeoutMs: contentsTimeoutMs }),
    );
  }

  /** Asks one processor after another until one answers. An answer that is a refusal is an answer. */
  async #any<T>(call: (stream: PushStream<typeof cellPushContract>) => Promise<T>): Promise<T> {
    let last: unknown;
    for (const stream of [...this.#streams]) {
      if (stream.closed) continue;
      try {
        return await call(stream);
      } catch (error) {
        last = error;
        if (!(error instanceof PandoError) || error.code !== 'HostUnreachable') throw error;
      }
    }
    throw last ?? new PandoError('HostUnreachable', `${this.name} has no connected processor.`);
  }
}

/** How long a gateway keeps a VPC when its last port has left, for the next one: to lay its cable anew costs tens of milliseconds of CPU. */
const emptyVpcKeptMs = 60_000;
/** Above so many at a time, those that have been without ports longest go. */
export const emptyVpcsKeptMax = 64;

export class GatewayDevice implements Device {
  readonly name = 'gateway';
  #stream: PushStream<typeof cardContract> | undefined;
  /** VPCs that the gateway was told with placed ports. */
  readonly #serves = new Set<string>();
  /** Since when those of them have had none; the longest first. */
  readonly #emptySinceMs = new Map<string, number>();
  readonly #keptMs: number;
  readonly #peers: Peers<PushStream<typeof cardContract>>;
  readonly #parts: VpcPartsCache;
  readonly #relay: Relay | undefined;
  readonly #versions: LostHistory | undefined;

  constructor(keptMs = emptyVpcKeptMs, parts = new VpcPartsCache(), relay?: Relay, versions?: LostHistory) {
    this.#keptMs = keptMs;
    this.#relay = relay;
    this.#parts = parts;
    this.#versions = versions;
    this.#peers = new Peers(parts.recent, versions);
  }

  get connected(): boolean {
    return this.#stream !== undefined;
  }

  /** The newest stream is the gateway; it says what it has, so that what it should not have can be removed. */
  async join(stream: PushStream<typeof cardContract>): Promise<readonly string[]> {
    this.#stream = stream;
    this.#relay?.calls?.isHere(this.name);
    const status = await stream.call('card.status', {});
    return status.vpcs.map((vpc) => vpc.vpcId);
  }

  /** Returns whether it was the current stream. */
  leave(stream: PushStream<typeof cardContract>): boolean {
    if (this.#stream !== stream) return false;
    this.#stream = undefined;
    return true;
  }

  wants(state: VpcState): boolean {
    return state.internetGateway !== undefined && (hasPlacedPorts(state) || this.#keepsEmpty(state.vpcId));
  }

  /** The reconciler asks again and again, so what is over is removed soon after. */
  #keepsEmpty(vpcId: string): boolean {
    if (!this.#serves.has(vpcId)) return false;
    const now = monotonicMs();
    const sinceMs = this.#emptySinceMs.get(vpcId) ?? now;
    this.#emptySinceMs.set(vpcId, sinceMs);
    const isOldest = this.#emptySinceMs.keys().next().value === vpcId;
    return now - sinceMs < this.#keptMs && !(isOldest && this.#emptySinceMs.size > emptyVpcsKeptMax);
  }

  get isHere(): boolean {
    return this.connected;
  }

  async apply(state: VpcState): Promise<readonly string[]> {
    if (hasPlacedPorts(state)) {
      this.#serves.add(state.vpcId);
      this.#emptySinceMs.delete(state.vpcId);
    }
    const relayed = this.isHere ? undefined : this.#relay?.tell(this.name, state.vpcId, state.version);
    if (relayed !== undefined) return relayed;
    return this.#tell(this.#current(), state).catch(newerIsFine);
  }

  async #tell(stream: PushStream<typeof cardContract>, state: VpcState): Promise<readonly string[]> {
    const parts = this.#parts.of(state);
    // A gateway translates addresses; security groups are the cards' matter.
    const told = await this.#peers.tell(stream, parts, objectsFor(parts, new Set()), {
      ask: (vpcId) => stream.call('card.objects', { vpcIds: [vpcId] }, { timeoutMs: applyTimeoutMs }),
      tell: async ({ objects, places }) => {
        const change = { objects, places: [places] };
        return {
          has: await stream.call('card.transact', change, { timeoutMs: applyTimeoutMs }),
          unreachable: [],
        };
      },
    });
    if (told === undefined) await this.#tellWhole(stream, { ...state, groups: [] });
    return [];
  }

  /** @throws Conflict where it has a later one that the store has lost */
  async #tellWhole(stream: PushStream<typeof cardContract>, state: VpcState): Promise<void> {
    const { vpcId } = state;
    try {
      await stream.call('card.applyVpc', { state }, { timeoutMs: applyTimeoutMs });
    } catch (error) {
      newerIsFine(error);
      const { vpcs } = await stream.call('card.status', {}, { timeoutMs: contentsTimeoutMs });
      const version = vpcs.find((each) => each.vpcId === vpcId)?.version ?? 0;
      const isLater = version > state.version;
      if (isLater && (await this.#versions?.isLost(vpcId, version, 'further'))) throw hasLost(vpcId, version);
    }
  }

  /** Whether it can be asked: from here, or over another process of the region. */
  get isReached(): boolean {
    return this.isHere || this.#relay?.calls?.has(this.name) === true;
  }

  /** As a device that is told objects. */
  device(deviceId: string): NetworkDevice {
    return {
      deviceId,
      objects: (vpcIds) => this.#ask('card.objects', { vpcIds: vpcIds && [...vpcIds] }),
      transact: (transaction) => this.#ask('card.transact', transaction),
      preview: (transaction) => this.#ask('card.preview', transaction),
      confirm: async (transactionId, fence) => {
        await this.#ask('card.confirm', { transactionId, fence });
      },
    };
  }

  async #ask<M extends GatewayMethod>(
    method: M,
    params: Params<CardContract, M>,
  ): Promise<Result<CardContract, M>> {
    const timeoutMs = timeoutOf(method);
    const calls = this.isHere ? undefined : this.#relay?.calls;
    if (calls === undefined || !calls.has(this.name))
      return this.#current().call(method, params, { timeoutMs });
    const answer = await calls.call(this.name, method, params, timeoutMs);
    return cardContract[method].result.parse(answer) as Result<CardContract, M>;
  }

  /** Asked by another process of the region. */
  async serve(method: string, params: unknown): Promise<unknown> {
    const asked = relayedByGateway.find((each) => each === method);
    if (asked === undefined) throw noSuchCall(method);
    const parsed = cardContract[asked].params.parse(params) as Params<CardContract, typeof asked>;
    return this.#current().call(asked, parsed, { timeoutMs: timeoutOf(asked) });
  }

  async remove(vpcId: string): Promise<void> {
    this.#serves.delete(vpcId);
    this.#emptySinceMs.delete(vpcId);
    this.#peers.forget(this.#current(), vpcId);
    await this.#current().call('card.removeVpc', { vpcId }, { timeoutMs: applyTimeoutMs });
  }

  #current(): PushStream<typeof cardContract> {
    if (this.#stream !== undefined) return this.#stream;
    throw new PandoError('HostUnreachable', 'The gateway is not connected.');
  }
}
