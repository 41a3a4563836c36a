/**
 * The region's other processes, through the store (`NOTIFY`): a change that was made here reaches devices that are connected elsewhere, and
 * its caller hears when they have it. What a lost notice does not bring, the other's reconciler does.
 *
 * Each process says every few seconds which devices are connected to it. While there is no other process, a change notifies nobody.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Logger } from '#base/log.ts';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import type { PushResult } from './push.ts';

export const replicasChannel = 'region_replicas';
const sayEveryMs = 3_000;
/** A process that was silent for so long has no device any more. */
const silentMsMax = 10_000;
/** Names in one notice; the store takes 8,000 bytes. */
const namesPerNotice = 64;
const nameCharsMax = 100;
/** Answers that are waited for. */
const waitingMax = 4_096;

const name = z.string().max(nameCharsMax);
const notice = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('here'),
    from: z.string(),
    isFirst: z.boolean(),
    devices: z.array(name).max(namesPerNotice),
  }),
  z.object({ kind: z.literal('gone'), from: z.string() }),
  z.object({
    kind: z.enum(['call', 'taken', 'answered']),
    from: z.string(),
    to: z.string(),
    callId: z.uuid(),
  }),
  z.object({ kind: z.literal('changed'), from: z.string(), vpcId: z.string() }),
  z.object({
    kind: z.literal('told'),
    from: z.string(),
    vpcId: z.string(),
    version: z.number().int(),
    devices: z.array(name).max(namesPerNotice),
    unreachable: z.array(name).max(namesPerNotice),
  }),
]);
type Notice = z.infer<typeof notice>;
/** A notice of this process, which adds its own name. */
type Told = Notice extends infer N ? (N extends unknown ? Omit<N, 'from'> : never) : never;

export interface ReplicasOptions {
  readonly log: Logger;
  readonly waitMsMax: number;
  notify(payload: string): Promise<void>;
  /** Names of the devices that are connected here. */
  connected(): readonly string[];
  push(vpcId: string): Promise<PushResult | undefined>;
  /** A device that joined another process: it may not be known here yet. */
  onDevices(names: readonly string[]): void;
  /** Notices may have been lost. */
  onMissed(): void;
  /** About a call of one device (device-relay.ts). */
  onCall?(kind: CallKind, from: string, callId: string): void;
}

type CallKind = 'call' | 'taken' | 'answered';

interface Waiting {
  readonly version: number;
  resolve(unreachable: readonly string[]): void;
}

export class Replicas {
  readonly id = randomUUID();
  readonly #options: ReplicasOptions;
  /** Which devices are connected to which other process, and when it said so. */
  readonly #elsewhere = new Map<string, { readonly from: string; readonly atMs: number }>();
  /** By device and VPC. */
  readonly #waiting = new Map<string, Set<Waiting>>();
  /** VPCs of which others are being told at this moment: changes that pile up are one notice. */
  readonly #announced = new Set<string>();
  readonly #stop = new AbortController();

  constructor(options: ReplicasOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#sayHere();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#notify({ kind: 'gone' });
  }

  async #sayHere(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.say();
      await delay(sayEveryMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** Says which devices are connected here: they are told of changes through this process. */
  async say(): Promise<void> {
    const devices = this.#options.connected();
    for (let at = 0; at < Math.max(devices.length, 1); at += namesPerNotice)
      await this.#notify({
        kind: 'here',
        isFirst: at === 0,
        devices: devices.slice(at, at + namesPerNotice),
      });
  }

  /**
   * Has a device that is connected to another process told of this version of a VPC. Resolves with what could not be told of it;
   * undefined: no other process has the device.
   */
  tell(device: string, vpcId: string, version: number): Promise<readonly string[]> | undefined {
    const known = this.#elsewhere.get(device);
    if (known === undefined || monotonicMs() - known.atMs > silentMsMax) return undefined;
    const key = `${device} ${vpcId}`;
    const waiting = this.#waiting.get(key) ?? new Set<Waiting>();
    if (waiting.size === 0 && this.#waiting.size >= waitingMax) return undefined;
    this.#waiting.set(key, waiting);
    const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
    const entry = { version, resolve };
    waiting.add(entry);
    const timer = setTimeout(
      () => reject(new PandoError('HostUnreachable', `${device} was not told in time by another process.`)),
      this.#options.waitMsMax,
    ).unref();
    this.#announce(vpcId);
    return promise.finally(() => {
      clearTimeout(timer);
      waiting.delete(entry);
      if (waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key);
    });
  }

  /** The process that a device is connected to; undefined: none, or this one. */
  whoHas(device: string): string | undefined {
    const known = this.#elsewhere.get(device);
    return known === undefined || monotonicMs() - known.atMs > silentMsMax ? undefined : known.from;
  }

  /** To one other process, about a call of a device. */
  send(kind: CallKind, to: string, callId: string): Promise<void> {
    return this.#notify({ kind, to, callId });
  }

  #announce(vpcId: string): void {
    if (this.#announced.has(vpcId)) return;
    this.#announced.add(vpcId);
    // All devices of one round ask in the same turn of the event loop.
    setImmediate(() => {
      this.#announced.delete(vpcId);
      void this.#notify({ kind: 'changed', vpcId });
    });
  }

  /** What the store brought; undefined: it was just connected, and notices may have been lost. */
  heard(payload: string | undefined): void {
    if (payload === undefined) {
      void this.say();
      this.#options.onMissed();
      return;
    }
    const parsed = parseNotice(payload);
    if (parsed === undefined) this.#options.log.warn('a notice that is none was heard: passed over');
    if (parsed === undefined || parsed.from === this.id) return;
    if (parsed.kind === 'here') this.#note(parsed);
    else if (parsed.kind === 'gone') this.#forget(parsed.from);
    else if (parsed.kind === 'changed') void this.#pushHere(parsed.vpcId);
    else if (parsed.kind !== 'told') {
      if (parsed.to === this.id) this.#options.onCall?.(parsed.kind, parsed.from, parsed.callId);
    } else
      for (const device of parsed.devices)
        for (const { version, resolve } of this.#waiting.get(`${device} ${parsed.vpcId}`) ?? [])
          if (parsed.version >= version) resolve(parsed.unreachable);
  }

  #note({ from, devices, isFirst }: Extract<Notice, { kind: 'here' }>): void {
    const atMs = monotonicMs();
    if (isFirst) this.#forget(from);
    for (const [device, known] of this.#elsewhere)
      if (atMs - known.atMs > silentMsMax) this.#elsewhere.delete(device);
    for (const device of devices) this.#elsewhere.set(device, { from, atMs });
    this.#options.onDevices(devices);
  }

  #forget(from: string): void {
    for (const [device, known] of this.#elsewhere) if (known.from === from) this.#elsewhere.delete(device);
  }

  /** Another process has changed it. */
  async #pushHere(vpcId: string): Promise<void> {
    const { connected, push, log } = this.#options;
    if (connected().length === 0) return;
    try {
      const pushed = await push(vpcId);
      if (pushed === undefined) return;
      const { state, here, unreachable } = pushed;
      for (let at = 0; at < here.length; at += namesPerNotice)
        await this.#notify({
          kind: 'told',
          vpcId,
          version: state.version,
          devices: here.slice(at, at + namesPerNotice),
          unreachable: unreachable.slice(0, namesPerNotice).map((each) => each.slice(0, nameCharsMax)),
        });
    } catch (err) {
      log.warn({ err, vpcId }, 'a change of another process was not passed on: the next pass does');
    }
  }

  async #notify(message: Told): Promise<void> {
    try {
      await this.#options.notify(JSON.stringify({ ...message, from: this.id }));
    } catch (err) {
      this.#options.log.debug({ err }, 'the region’s other processes were not told');
    }
  }
}

const parseNotice = (payload: string): Notice | undefined => {
  try {
    return notice.parse(JSON.parse(payload));
  } catch {
    return undefined;
  }
};
