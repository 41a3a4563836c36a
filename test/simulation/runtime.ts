/**
 * The narrowest waist between production code and the machine: the modules of Node that tell time, wait, draw random numbers and open
 * sockets. While a simulation is installed they are the world's; no line of production code knows of it.
 */
import { createRequire, syncBuiltinESMExports } from 'node:module';
import type { Network } from './network.ts';
import { SimServer, SimSocket } from './sockets.ts';
import { frameOf, type SimEvent, type SimProcess, type World } from './world.ts';

const require = createRequire(import.meta.url);
/** Modules as objects whose members can be replaced. */
type Mutable = Record<string, unknown>;
const builtin = (name: string): Mutable => require(name) as Mutable;

class SimTimer {
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #ms: number;
  readonly #repeats: boolean;
  readonly #call: () => void;
  /** The request's trace and the transaction's scope come along, as with a real timer. */
  readonly #enter = frameOf();
  #event: SimEvent | undefined;

  constructor(world: World, call: () => void, ms: number, repeats: boolean) {
    this.#world = world;
    this.#process = world.current;
    this.#ms = ms;
    this.#repeats = repeats;
    this.#call = call;
    this.#begin();
  }

  #begin(): void {
    const run = (): void => {
      if (this.#repeats) this.#begin();
      this.#call();
    };
    this.#event = this.#world.after(this.#process, this.#ms, run, this.#enter);
  }

  stop(): void {
    if (this.#event !== undefined) this.#world.cancel(this.#event);
  }

  refresh(): this {
    this.stop();
    this.#begin();
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return true;
  }

  close(): this {
    this.stop();
    return this;
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}

const replace = (target: object, members: Mutable, undo: (() => void)[]): void => {
  for (const [name, value] of Object.entries(members)) {
    const before = Object.getOwnPropertyDescriptor(target, name);
    Object.defineProperty(target, name, { value, configurable: true, writable: true, enumerable: true });
    undo.push(() => {
      if (before === undefined) Reflect.deleteProperty(target, name);
      else Object.defineProperty(target, name, before);
    });
  }
};

const timersOf = (world: World, real: typeof clearTimeout) => {
  const stop = (timer: unknown): void => {
    if (timer instanceof SimTimer) timer.stop();
    // One that was begun before the simulation.
    else if (timer !== undefined && timer !== null) real(timer as NodeJS.Timeout);
  };
  const timer =
    (repeats: boolean) =>
    (call: (...given: unknown[]) => void, ms = 1, ...given: unknown[]) =>
      new SimTimer(world, () => call(...given), Math.max(1, ms), repeats);
  return {
    setTimeout: timer(false),
    setInterval: timer(true),
    setImmediate: (call: (...given: unknown[]) => void, ...given: unknown[]) =>
      new SimTimer(world, () => call(...given), 0, false),
    clearTimeout: stop,
    clearInterval: stop,
    clearImmediate: stop,
  };
};

interface Waiting {
  readonly signal?: AbortSignal;
}

const aborted = (signal: AbortSignal): Error =>
  Object.assign(new Error('The operation was aborted', { cause: signal.reason }), {
    name: 'AbortError',
    code: 'ABORT_ERR',
  });

const promisedTimers = (world: World) => {
  const wait = <T>(ms: number, value: T | undefined, { signal }: Waiting = {}): Promise<T | undefined> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(aborted(signal));
        return;
      }
      const timer = new SimTimer(world, () => end(() => resolve(value)), ms, false);
      const stop = (): void => end(() => reject(aborted(signal as AbortSignal)));
      const end = (settle: () => void): void => {
        timer.stop();
        signal?.removeEventListener('abort', stop);
        settle();
      };
      signal?.addEventListener('abort', stop);
    });
  return {
    setTimeout: (ms = 1, value?: unknown, options?: Waiting) => wait(Math.max(1, ms), value, options),
    setImmediate: (value?: unknown, options?: Waiting) => wait(0, value, options),
  };
};

const clocksOf = (world: World, RealDate: DateConstructor) => {
  class SimDate extends RealDate {
    constructor(...given: unknown[]) {
      if (given.length === 0) super(world.wallMs());
      else super(...(given as [number]));
    }
    static override now(): number {
      return world.wallMs();
    }
  }
  const nanoseconds = (): bigint => BigInt(Math.round(world.monotonicMs() * 1e6));
  const hrtime = (before?: [number, number]): [number, number] => {
    const now =
      nanoseconds() - (before === undefined ? 0n : BigInt(before[0]) * 1_000_000_000n + BigInt(before[1]));
    return [Number(now / 1_000_000_000n), Number(now % 1_000_000_000n)];
  };
  return { Date: SimDate, hrtime: Object.assign(hrtime, { bigint: nanoseconds }) };
};

const entropyOf = ({ entropy }: World) => {
  const fill = <T extends ArrayBufferView>(into: T): T => {
    const bytes = entropy.bytes(into.byteLength);
    Buffer.from(into.buffer, into.byteOffset, into.byteLength).set(bytes);
    return into;
  };
  const randomUUID = (): string => {
    const bytes = entropy.bytes(16);
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  };
  const randomInt = (one: number, other?: number): number =>
    other === undefined ? entropy.between(0, one) : entropy.between(one, other);
  const randomBytes = (count: number): Buffer => entropy.bytes(count);
  return {
    node: { randomBytes, randomUUID, randomInt, randomFillSync: fill },
    web: { getRandomValues: fill, randomUUID },
  };
};

/** What is read or written while a process starts is small: it takes no time, and no turn of its own. */
const filesOf = () => {
  const files = require('node:fs') as typeof import('node:fs');
  return {
    readFile: async (...given: Parameters<typeof files.readFileSync>) => files.readFileSync(...given),
    writeFile: async (...given: Parameters<typeof files.writeFileSync>) => files.writeFileSync(...given),
  };
};

const socketsOf = (network: Network) => {
  class Socket extends SimSocket {
    constructor() {
      super(network);
    }
  }
  const connect = (to: { host: string; port: number; cert?: string }) =>
    new SimSocket(network, { secure: true, cert: to.cert }).connect(to.port, to.host);
  const createServer = (options: { cert?: string }, onSecure: (socket: SimSocket) => void) =>
    new SimServer(network, { cert: options.cert, onSecure });
  return { Socket, connect, createServer };
};

/** An HTTP server of Node that listens in the simulated network. */
const httpOf = (network: Network, real: Mutable) => {
  const make = real.createServer as typeof import('node:http').createServer;
  return {
    createServer: (...given: Parameters<typeof make>) => {
      const server = make(...given);
      const listening = new SimServer(network, {});
      listening.on('connection', (socket: SimSocket) => server.emit('connection', socket));
      return Object.assign(server, {
        listen: (to: { host: string; port: number }, listens?: () => void) => {
          listening.listen(to.port, to.host, listens);
          return server;
        },
        address: () => listening.address(),
        close: (closed?: () => void) => {
          listening.close(closed);
          return server;
        },
      });
    },
  };
};

/** Of all simulated processes, as in containers: the real one would make another trace in each process that runs a seed. */
const simulatedPid = 1;

/** Puts the world in the place of the machine; returns what takes it away. */
export const install = (world: World, network: Network): (() => void) => {
  const undo: (() => void)[] = [];
  const timers = timersOf(world, clearTimeout);
  const clocks = clocksOf(world, Date);
  const random = entropyOf(world);
  const sockets = socketsOf(network);
  replace(globalThis, { ...timers, Date: clocks.Date }, undo);
  // Processes are told apart by it, and name themselves with it in rows.
  replace(process, { hrtime: clocks.hrtime, pid: simulatedPid }, undo);
  replace(Math, { random: () => world.entropy.next() }, undo);
  replace(globalThis.crypto, random.web, undo);
  replace(builtin('node:crypto'), random.node, undo);
  replace(builtin('node:timers'), timers, undo);
  replace(builtin('node:timers/promises'), promisedTimers(world), undo);
  replace(builtin('node:fs/promises'), filesOf(), undo);
  replace(builtin('node:net'), { Socket: sockets.Socket }, undo);
  replace(builtin('node:tls'), { connect: sockets.connect, createServer: sockets.createServer }, undo);
  replace(builtin('node:http'), httpOf(network, builtin('node:http')), undo);
  syncBuiltinESMExports();
  return () => {
    for (const back of undo.reverse()) back();
    syncBuiltinESMExports();
  };
};
