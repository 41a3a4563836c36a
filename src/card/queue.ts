/**
 * The packet queue of a migration (S7.2): a UDP socket that receives the overlay's datagrams for one port, holds them in order
 * while the VM is not running anywhere, and sends them on.
 *
 *   passing ⇄ holding     passing with a backlog: new packets go behind it, so that order is kept
 */
import { createSocket, type Socket } from 'node:dgram';
import { monotonicMs } from '#base/monotonic.ts';
import {
  queueBurstPackets,
  queueBytesMax,
  queueCloseWaitMsMax,
  queuePacketsMax,
  queueReceiveBufferBytes,
} from './limits.ts';
import type { Endpoint } from './model/place.ts';

export interface QueueCounters {
  readonly held: number;
  readonly heldBytes: number;
  readonly forwarded: number;
  readonly dropped: number;
}

export type QueueMode = 'pass' | 'hold';

export interface QueueLimits {
  readonly packetsMax: number;
  readonly bytesMax: number;
}

export class PacketQueue {
  readonly #socket: Socket;
  readonly #limits: QueueLimits;
  readonly #backlog: Buffer[] = [];
  #head = 0;
  #heldBytes = 0;
  #forwarded = 0;
  #dropped = 0;
  #mode: QueueMode;
  #passTo: Endpoint;
  #pumping = false;
  #lastArrivalMs = monotonicMs();
  #closed = false;

  private constructor(socket: Socket, mode: QueueMode, passTo: Endpoint, limits: QueueLimits) {
    this.#socket = socket;
    this.#mode = mode;
    this.#passTo = passTo;
    this.#limits = limits;
    socket.on('message', (packet) => this.#arrived(packet));
    socket.on('error', () => undefined);
  }

  /** Opens one on `address`, a port of the kernel's choice. */
  static async open(
    address: string,
    mode: QueueMode,
    passTo: Endpoint,
    limits: QueueLimits = { packetsMax: queuePacketsMax, bytesMax: queueBytesMax },
  ): Promise<PacketQueue> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(0, address, resolve);
    });
    socket.setRecvBufferSize(queueReceiveBufferBytes);
    return new PacketQueue(socket, mode, passTo, limits);
  }

  get endpoint(): Endpoint {
    const { address, port } = this.#socket.address();
    return { ip: address, port };
  }

  get counters(): QueueCounters {
    return {
      held: this.#backlog.length - this.#head,
      heldBytes: this.#heldBytes,
      forwarded: this.#forwarded,
      dropped: this.#dropped,
    };
  }

  set(mode: QueueMode, passTo: Endpoint | undefined): void {
    this.#mode = mode;
    this.#passTo = passTo ?? this.#passTo;
    this.#pump();
  }

  /**
   * Resolves when nothing is held any more and nothing has arrived for `idleMs`, at most after `waitMsMax`. Also when told to
   * hold again.
   */
  async drained(idleMs = 0, waitMsMax = queueCloseWaitMsMax): Promise<void> {
    const startedMs = monotonicMs();
    const isQuiet = (): boolean =>
      monotonicMs() - Math.max(this.#lastArrivalMs, startedMs) >= idleMs ||
      monotonicMs() - startedMs >= waitMsMax;
    while (!this.#closed && (this.#pumping || (this.#mode === 'pass' && !isQuiet())))
      await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /**
   * Releases what is held and resolves once nothing has arrived for `idleMs`, when the socket is closed. Under traffic that
   * does not end it answers after `waitMsMax` and goes on passing until there is silence.
   */
  close(idleMs: number, waitMsMax = queueCloseWaitMsMax): Promise<QueueCounters> {
    this.set('pass', undefined);
    const startedMs = monotonicMs();
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, startedMs);
    return new Promise((resolve) => {
      const check = (): void => {
        const idle = this.counters.held === 0 && monotonicMs() - this.#lastArrivalMs >= idleMs;
        if (idle) this.destroy();
        if (idle || monotonicMs() - startedMs >= waitMsMax) resolve(this.counters);
        if (!idle && !this.#closed) setTimeout(check, Math.max(1, Math.min(idleMs, 50)));
      };
      check();
    });
  }

  /** Closes at once; what is held is counted as dropped. */
  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#dropped += this.#backlog.length - this.#head;
    this.#backlog.length = 0;
    this.#head = 0;
    this.#heldBytes = 0;
    this.#socket.close();
  }

  #arrived(packet: Buffer): void {
    this.#lastArrivalMs = monotonicMs();
    if (this.#mode === 'pass' && !this.#pumping) {
      this.#send(packet);
      return;
    }
    const held = this.#backlog.length - this.#head;
    if (held >= this.#limits.packetsMax || this.#heldBytes + packet.length > this.#limits.bytesMax) {
      this.#dropped += 1;
      return;
    }
    this.#backlog.push(packet);
    this.#heldBytes += packet.length;
  }

  #pump(): void {
    if (this.#pumping || this.#mode === 'hold' || this.#backlog.length === this.#head) return;
    this.#pumping = true;
    const burst = (): void => {
      for (let sent = 0; sent < queueBurstPackets && this.#mode === 'pass'; sent += 1) {
        const packet = this.#backlog[this.#head];
        if (packet === undefined) break;
        this.#head += 1;
        this.#heldBytes -= packet.length;
        this.#send(packet);
      }
      if (this.#head >= this.#limits.packetsMax || this.#head === this.#backlog.length) {
        this.#backlog.splice(0, this.#head);
        this.#head = 0;
      }
      if (this.#mode === 'hold' || this.#closed || this.#backlog.length === this.#head) this.#pumping = false;
      else setTimeout(burst, 1);
    };
    burst();
  }

  #send(packet: Buffer): void {
    this.#forwarded += 1;
    this.#socket.send(packet, this.#passTo.port, this.#passTo.ip, (error) => {
      if (error === null || error === undefined) return;
      this.#forwarded -= 1;
      this.#dropped += 1;
    });
  }
}
