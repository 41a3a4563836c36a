/**
 * The network between simulated processes. Connections keep their order as TCP does; cut off, they wait, and neither end is told. On
 * streams of calls single frames can also be lost, doubled or overtaken, which asks more of the receiver than TCP ever will.
 */
import { type Random, randomOf } from './random.ts';
import type { SimServer, SimSocket } from './sockets.ts';
import type { SimProcess, World } from './world.ts';

const latencyMsMin = 0.2;
const latencyMsMax = 2;
const retransmitMs = 150;
const headChars = 120;

/** What happens to frames between two processes, as probabilities. */
export interface Weather {
  readonly drop: number;
  readonly duplicate: number;
  readonly reorder: number;
  /** Added to each frame's time, at most. */
  readonly delayMs: number;
}

export const fair: Weather = { drop: 0, duplicate: 0, reorder: 0, delayMs: 0 };

export type Parcel =
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'end' }
  | { readonly kind: 'reset' };

const frameHead = /^\{"t":"(\w)"(?:,"id":(\d+))?(?:,"m":"([^"]+)")?/;

/** `call 7 vm.launch`, `answer 7`, …: what a frame is, for people. */
const describe = (bytes: Buffer): string => {
  const [, type = '?', id = '', method = ''] = frameHead.exec(bytes.toString('latin1', 4, headChars)) ?? [];
  return `${type}${id} ${method}`.trimEnd();
};

export class Network {
  readonly world: World;
  readonly #random: Random;
  readonly #listeners = new Map<string, SimServer>();
  readonly #cuts = new Set<string>();
  /** Runs what belongs to no process: it never dies. */
  readonly #fabric: SimProcess;
  weather: Weather = fair;
  /** A cell that talked to another cell (I5). */
  readonly violations: string[] = [];
  connections = 0;

  constructor(world: World) {
    this.world = world;
    this.#random = randomOf(world.seed, 'network');
    this.#fabric = world.process('network');
  }

  /** Nothing passes between the two from now on, in that direction. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from} ${to}`);
  }

  mend(from: string, to: string): void {
    this.#cuts.delete(`${from} ${to}`);
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.has(`${from} ${to}`);
  }

  heal(): void {
    this.#cuts.clear();
    this.weather = fair;
  }

  register(address: string, server: SimServer): void {
    this.#listeners.set(address, server);
  }

  unregister(address: string, server: SimServer): void {
    if (this.#listeners.get(address) === server) this.#listeners.delete(address);
  }

  latency(): number {
    return latencyMsMin + this.#random.next() * (latencyMsMax - latencyMsMin);
  }

  /** Dials: the other end accepts, refuses, or is not reached. */
  dial(socket: SimSocket, address: string): void {
    const arrive = (): void => {
      if (socket.destroyed) return;
      const server = this.#listeners.get(address);
      const target = server?.process;
      const host = address.slice(0, address.lastIndexOf(':'));
      if (this.isCut(socket.process.name, host) || this.isCut(host, socket.process.name)) {
        this.world.after(this.#fabric, retransmitMs, arrive);
        return;
      }
      if (server === undefined || target === undefined || target.state === 'dead') {
        this.world.after(socket.process, this.latency(), () => socket.refused(address));
        return;
      }
      this.world.after(target, 0, () => {
        if (socket.destroyed) return;
        this.#checkCells(socket.process.name, target.name);
        this.connections++;
        server.accept(socket);
        this.world.after(socket.process, this.latency(), () => socket.connected());
      });
    };
    this.world.after(this.#fabric, this.latency(), arrive);
  }

  /** Sends to the other end of a connection. */
  send(from: SimSocket, to: SimSocket, parcel: Parcel): void {
    if (to.destroyed) return;
    const isFrame = from.isStream && parcel.kind === 'bytes';
    if (!isFrame) {
      this.#enqueue(from, to, parcel, this.latency());
      return;
    }
    const { drop, duplicate, reorder, delayMs } = this.weather;
    const what = (): string => `${from.process.name} > ${to.process.name} ${describe(parcel.bytes)}`;
    if (this.#random.chance(drop)) {
      this.world.tell(`lost ${what()}`);
      return;
    }
    const latency = this.latency() + this.#random.next() * delayMs;
    const swaps = this.#random.chance(reorder) && to.inbox.length > 0;
    this.#enqueue(from, to, parcel, latency, swaps);
    if (!this.#random.chance(duplicate)) return;
    this.world.tell(`doubled ${what()}`);
    this.#enqueue(from, to, parcel, latency + this.latency());
  }

  #enqueue(from: SimSocket, to: SimSocket, parcel: Parcel, latencyMs: number, swaps = false): void {
    const item = { parcel, from: from.process.name, isStream: from.isStream };
    if (swaps) to.inbox.splice(-1, 0, item);
    else to.inbox.push(item);
    // Each event delivers the head of the line, whichever parcel it was made for: so order is kept.
    const arrive = (): void => {
      const [head] = to.inbox;
      if (head === undefined || to.destroyed) return;
      if (this.isCut(head.from, to.process.name)) {
        this.world.after(to.process, retransmitMs, arrive);
        return;
      }
      to.inbox.shift();
      this.#deliver(head.from, to, head.parcel, head.isStream);
    };
    this.world.after(to.process, latencyMs, arrive);
  }

  #deliver(from: string, to: SimSocket, parcel: Parcel, isStream: boolean): void {
    const way = `${from} > ${to.process.name} `;
    if (parcel.kind !== 'bytes') this.world.tell(`${way}${parcel.kind}`);
    else if (isStream) this.world.tell(way, [parcel.bytes], () => describe(parcel.bytes));
    to.arrive(parcel);
  }

  /** I5: no cell calls another. A processor or a host of one and a processor or the store of another are that. */
  #checkCells(from: string, to: string): void {
    const [one, other] = [cellIn(from), cellIn(to)];
    if (one !== undefined && other !== undefined && one !== other)
      this.violations.push(`I5: ${from} called ${to}`);
  }
}

/** Processes of a cell are named `c2-p1`, `c2-store`, `c2-h7`. */
export const cellIn = (name: string): string | undefined => /^(c\d+)-/.exec(name)?.[1];
