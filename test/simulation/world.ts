/**
 * Virtual time, and the processes that live in it. One event runs at a time; the next begins when nothing is left to do of the last, so
 * the order of everything is that of (moment, number of the event).
 */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { type Random, randomOf } from './random.ts';
import { Trace } from './trace.ts';

/** One life of a process: killed, it is dead for ever, and the next is another object. */
export interface SimProcess {
  readonly name: string;
  state: 'running' | 'frozen' | 'dead';
  /** How far its machine's wall clock is ahead. */
  wallAheadMs: number;
  /** What its machine's monotonic clock said at the beginning. */
  readonly monotonicFromMs: number;
  /** What was due while it was frozen, in order. */
  readonly held: SimEvent[];
  /** Its kernel closes what it has open. */
  readonly onEnd: Set<() => void>;
  /** Runs work as this process, and as no request of it. */
  readonly enter: Enter;
}

export interface SimEvent {
  dueMs: number;
  number: number;
  readonly process: SimProcess;
  /** Runs work as what it was planned in. */
  readonly enter: Enter;
  run: (() => void) | undefined;
}

export type Enter = (work: () => void) => void;

const realImmediate = setImmediate;
/** Of events that are begun by one turn of Node's loop: between two of its immediates it leaves nothing undone, and asks no kernel. */
const eventsPerTurn = 128;
/** Events that were called off stay in the queue until there are so many, and more than others. */
const calledOffMin = 1_024;

/** 2026-01-01T00:00:00Z, whenever it runs. */
const wallFromMs = 1_767_225_600_000;
/** Timers of a real machine are never that exact. */
const lateMsMax = 0.3;

const current = new AsyncLocalStorage<SimProcess>();

export class World {
  nowMs = 0;
  readonly seed: number;
  readonly trace: Trace;
  /** What production code draws. */
  readonly entropy: Random;
  readonly #timing: Random;
  #queue: SimEvent[] = [];
  #numbers = 0;
  #calledOff = 0;
  /** Errors that would have ended a process: nobody caught them. */
  readonly uncaught: { readonly process: string; readonly error: unknown }[] = [];
  /** Is told after each event. */
  afterEvent: (() => void) | undefined;
  /** Clients and those who order faults: they never die. */
  readonly outside: SimProcess;

  constructor(seed: number, trace = new Trace()) {
    this.seed = seed;
    this.trace = trace;
    this.entropy = randomOf(seed, 'entropy');
    this.#timing = randomOf(seed, 'timing');
    this.outside = this.process('outside');
  }

  process(name: string): SimProcess {
    const process: SimProcess = {
      name,
      state: 'running',
      wallAheadMs: 0,
      monotonicFromMs: this.#timing.between(10_000, 10_000_000),
      held: [],
      onEnd: new Set(),
      // The frame is made with the first event: it holds the process itself.
      enter: (work) => {
        enter ??= current.run(process, frameOf);
        enter(work);
      },
    };
    let enter: Enter | undefined;
    return process;
  }

  /** Whose code runs now. */
  get current(): SimProcess {
    return current.getStore() ?? this.outside;
  }

  wallMs(): number {
    return Math.floor(wallFromMs + this.nowMs + this.current.wallAheadMs);
  }

  monotonicMs(): number {
    return this.nowMs + this.current.monotonicFromMs;
  }

  /** Runs `work` as that process, and all that follows from it. */
  as<T>(process: SimProcess, work: () => T): T {
    return current.run(process, work);
  }

  tell(line: string, hidden?: readonly Uint8Array[], more?: () => string): void {
    this.trace.add(this.nowMs, line, hidden, more);
  }

  /** Runs `run` in `process` after a while; never before now's work is done. `enter`: as a request of that process. */
  after(process: SimProcess, delayMs: number, run: () => void, enter = process.enter): SimEvent {
    if (process.state === 'dead')
      return { dueMs: Number.POSITIVE_INFINITY, number: -1, process, enter, run: undefined };
    const late = delayMs > 0 ? this.#timing.next() * lateMsMax : 0;
    const dueMs = this.nowMs + Math.max(0, delayMs) + late;
    const event = { dueMs, number: this.#numbers++, process, enter, run };
    this.#push(event);
    return event;
  }

  kill(process: SimProcess): void {
    if (process.state === 'dead') return;
    process.state = 'dead';
    process.held.length = 0;
    this.tell(`killed ${process.name}`);
    for (const end of [...process.onEnd]) end();
    process.onEnd.clear();
  }

  freeze(process: SimProcess): void {
    if (process.state !== 'running') return;
    process.state = 'frozen';
    this.tell(`frozen ${process.name}`);
  }

  /** Everything that was due meanwhile is done now, in its order. */
  thaw(process: SimProcess): void {
    if (process.state !== 'frozen') return;
    process.state = 'running';
    this.tell(`thawed ${process.name}`);
    for (const { run, enter } of process.held.splice(0))
      if (run !== undefined) this.after(process, 0, run, enter);
  }

  /** Calls off an event that was to come. */
  cancel(event: SimEvent): void {
    if (event.run === undefined) return;
    event.run = undefined;
    if (++this.#calledOff < calledOffMin || this.#calledOff * 2 < this.#queue.length) return;
    this.#calledOff = 0;
    // Whatever is sorted is a heap.
    this.#queue = this.#queue
      .filter(({ run }) => run !== undefined)
      .sort((one, other) => (isBefore(one, other) ? -1 : 1));
  }

  /** Runs events until `done`, or until `untilMs`. Answers whether it is done. */
  run(untilMs: number, done: () => boolean = () => false): Promise<boolean> {
    return new Promise((resolve, reject) => {
      let hasBegun = false;
      let hasEnded = false;
      const step = (): void => {
        if (hasEnded) return;
        try {
          if (hasBegun) this.afterEvent?.();
          const isDone = done();
          hasBegun = !isDone && this.#next(untilMs);
          if (hasBegun) return;
          hasEnded = true;
          resolve(isDone || done());
        } catch (error) {
          hasEnded = true;
          reject(error);
        }
      };
      const turn = (): void => {
        step();
        if (hasEnded) return;
        for (let more = 1; more < eventsPerTurn; more++) realImmediate(step);
        realImmediate(turn);
      };
      realImmediate(turn);
    });
  }

  /** Runs the next event; false: there is none until then, and it is then. */
  #next(untilMs: number): boolean {
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined || next.dueMs > untilMs) {
        this.nowMs = Math.max(this.nowMs, untilMs);
        return false;
      }
      this.#pop();
      if (next.run === undefined) {
        this.#calledOff = Math.max(0, this.#calledOff - 1);
        continue;
      }
      this.nowMs = next.dueMs;
      if (this.#execute(next)) return true;
    }
  }

  /** Resolves with what `work` of a process comes to; time passes meanwhile. */
  async finish<T>(process: SimProcess, work: () => Promise<T>, withinMs: number): Promise<T> {
    const outcome: { value?: T; error?: unknown; ended: boolean } = { ended: false };
    this.as(process, work).then(
      (value) => Object.assign(outcome, { value, ended: true }),
      (error: unknown) => Object.assign(outcome, { error, ended: true }),
    );
    await this.run(this.nowMs + withinMs, () => outcome.ended);
    if (!outcome.ended) throw new Error(`not done in ${withinMs} ms of virtual time`);
    if ('error' in outcome) throw outcome.error;
    return outcome.value as T;
  }

  #execute(event: SimEvent): boolean {
    const { process, run, enter } = event;
    if (run === undefined || process.state === 'dead') return false;
    if (process.state === 'frozen') {
      process.held.push(event);
      return false;
    }
    event.run = undefined;
    try {
      enter(run);
    } catch (error) {
      this.failed(process, error);
    }
    return true;
  }

  failed(process: SimProcess, error: unknown): void {
    this.uncaught.push({ process: process.name, error });
    this.tell(`uncaught in ${process.name}: ${error instanceof Error ? error.message : String(error)}`);
  }

  #push(event: SimEvent): void {
    const queue = this.#queue;
    let at = queue.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = queue[parent];
      if (above === undefined || isBefore(above, event)) break;
      queue[at] = above;
      at = parent;
    }
    queue[at] = event;
  }

  #pop(): void {
    const queue = this.#queue;
    const last = queue.pop();
    if (last === undefined || queue.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const [one, other] = [queue[left], queue[left + 1]];
      if (one === undefined) break;
      const isRight = other !== undefined && isBefore(other, one);
      const child = isRight ? other : one;
      if (isBefore(last, child)) break;
      queue[at] = child;
      at = isRight ? left + 1 : left;
    }
    queue[at] = last;
  }
}

/** What a snapshot is, without what is made for each so that it looks like a function. */
export const frameOf = (): Enter => {
  const frame = new AsyncResource('simulated', { requireManualDestroy: true });
  return (work) => frame.runInAsyncScope(work);
};

const isBefore = (one: SimEvent, other: SimEvent): boolean =>
  one.dueMs < other.dueMs || (one.dueMs === other.dueMs && one.number < other.number);
