/**
 * The packet queue of a migration (S7.2): a UDP socket that receives the overlay's datagrams for one port, buffers them in
 * order while the VM is not running anywhere, and sends them on.
 *
 *   passing ⇄ buffering → lapsed     passing with a backlog: new packets go behind it, so that order is kept
 *
 * Lapsed: whoever made it buffer was heard of no more (a dead-man timer, from the first packet that is buffered). It passes to the
 * place that it was given for this case. A settled queue, whose guest runs here for good, does not buffer again.
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

export type QueueMode = 'pass' | 'buffer';

export interface QueueLapse {
  /** From the first packet that is buffered, or from the last call about the queue. */
  readonly ms: number;
  readonly passTo: Endpoint;
}

/** What can be set of a queue; absent: as it is. */
export interface QueueChange {
  readonly mode: QueueMode;
  readonly passTo?: Endpoint | undefined;
  readonly lapse?: QueueLapse | undefined;
  readonly settled?: boolean | undefined;
}

export interface QueueLimits {
  readonly packetsMax: number;
  readonly bytesMax: number;
}

export class PacketQueue {
  readonly #socket: Socket;
  readonly #limits: QueueLimits;
  readonly #backlog: Buffer[] = [];
  #head = 0;
  #backlogBytes = 0;
  #forwarded = 0;
  #dropped = 0;
  #mode: QueueMode;
  #passTo: Endpoint;
  #pumping = false;
  #lastArrivalMs = monotonicMs();
  #closed = false;
  #lapse: QueueLapse | undefined;
  #deadMan: NodeJS.Timeout | undefined;
  #lapsed = false;
  #settled = false;

  private constructor(
    socket: Socket,
    { mode, passTo, lapse }: QueueChange & { readonly passTo: Endpoint },
    limits: QueueLimits,
  ) {
    this.#socket = socket;
    this.#mode = mode;
    this.#passTo = passTo;
    this.#lapse = lapse;
    this.#limits = limits;
    socket.on('message', (packet) => this.#arrived(packet));
    socket.on('error', () => undefined);
  }

  /** Opens one on `address`, a port of the kernel's choice. */
  static async open(
    address: string,
    start: QueueChange & { readonly passTo: Endpoint },
    limits: QueueLimits = { packetsMax: queuePacketsMax, bytesMax: queueBytesMax },
  ): Promise<PacketQueue> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(0, address, resolve);
    });
    socket.setRecvBufferSize(queueReceiveBufferBytes);
    return new PacketQueue(socket, start, limits);
  }

  get endpoint(): Endpoint {
    const { address, port } = this.#socket.address();
    return { ip: address, port };
  }

  get counters(): QueueCounters {
    return {
      held: this.#backlog.length - this.#head,
      heldBytes: this.#backlogBytes,
      forwarded: this.#forwarded,
      dropped: this.#dropped,
    };
  }

  set({ mode, passTo, lapse, settled }: QueueChange): void {
    this.#settled ||= settled === true;
    this.#mode = this.#settled ? 'pass' : mode;
    this.#passTo = passTo ?? this.#passTo;
    this.#lapse = lapse ?? this.#lapse;
    this.#lapsed = false;
    clearTimeout(this.#deadMan);
    this.#deadMan = undefined;
    if (this.#mode === 'buffer' && this.counters.held > 0) this.#startDeadMan();
    this.#pump();
  }

  #startDeadMan(): void {
    if (this.#lapse === undefined || this.#deadMan !== undefined) return;
    const lapse = (): void => {
      if (this.#deadMan !== timer) return;
      this.#lapsed = true;
      this.#mode = 'pass';
      this.#pump();
    };
    // Where this process stood still meanwhile, a word about the queue may be there to be read.
    const timer = setTimeout(() => setImmediate(lapse), this.#lapse.ms).unref();
    this.#deadMan = timer;
  }

  /**
   * Resolves when nothing is buffered any more and nothing has arrived for `idleMs`, at most after `waitMsMax`. Also when told to
   * buffer again.
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
   * Releases what is buffered and resolves once nothing has arrived for `idleMs`, when the socket is closed. Under traffic that
   * does not end it answers after `waitMsMax` and goes on passing until there is silence.
   */
  close(idleMs: number, waitMsMax = queueCloseWaitMsMax): Promise<QueueCounters> {
    this.set({ mode: 'pass' });
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

  /** Closes at once; what is buffered is counted as dropped. */
  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#deadMan);
    this.#dropped += this.#backlog.length - this.#head;
    this.#backlog.length = 0;
    this.#head = 0;
    this.#backlogBytes = 0;
    this.#socket.close();
  }

  #arrived(packet: Buffer): void {
    this.#lastArrivalMs = monotonicMs();
    if (this.#mode === 'pass' && !this.#pumping) {
      this.#send(packet);
      return;
    }
    const waiting = this.#backlog.length - this.#head;
    if (waiting >= this.#limits.packetsMax || this.#backlogBytes + packet.length > this.#limits.bytesMax) {
      this.#dropped += 1;
      return;
    }
    this.#backlog.push(packet);
    this.#backlogBytes += packet.length;
    if (this.#mode === 'buffer') this.#startDeadMan();
  }

  #pump(): void {
    if (this.#pumping || this.#mode === 'buffer' || this.#backlog.length === this.#head) return;
    this.#pumping = true;
    const burst = (): void => {
      for (let sent = 0; sent < queueBurstPackets && this.#mode === 'pass'; sent += 1) {
        const packet = this.#backlog[this.#head];
        if (packet === undefined) break;
        this.#head += 1;
        this.#backlogBytes -= packet.length;
        this.#send(packet);
      }
      if (this.#head >= this.#limits.packetsMax || this.#head === this.#backlog.length) {
        this.#backlog.splice(0, this.#head);
        this.#head = 0;
      }
      if (this.#mode === 'buffer' || this.#closed || this.#backlog.length === this.#head)
        this.#pumping = false;
      else setTimeout(burst, 1);
    };
    burst();
  }

  #send(packet: Buffer): void {
    this.#forwarded += 1;
    sentByQueue(packet);
    const to = this.#lapsed && this.#lapse !== undefined ? this.#lapse.passTo : this.#passTo;
    this.#socket.send(packet, to.port, to.ip, (error) => {
      if (error === null || error === undefined) return;
      this.#forwarded -= 1;
      this.#dropped += 1;
    });
  }
}

/** Of the inner frame, behind the eight bytes of VXLAN's header and the receiver's address. */
const innerSender = { begin: 14, end: 20 };
const queueMac = Buffer.from('0270616e7175', 'hex');

/**
 * The sender of the inner frame is the card that redirected it. To that same card it may have to go back, and a VXLAN device drops
 * what says that it comes from itself.
 */
const sentByQueue = (packet: Buffer): void => {
  if (packet.length >= innerSender.end) queueMac.copy(packet, innerSender.begin);
};
