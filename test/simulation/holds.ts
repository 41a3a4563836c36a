/** I9: what is held for a client stays held, whole, until its time is over: by the cell's own time, and by the world's. */
import type { World } from './world.ts';

type Look = (sql: string) => readonly (string | null)[][];

/** Rows of offers that are reserved: what they hold, and how much of their time is left. */
const held = `
  select o.id, o.state, o.count, o.expires_ms - q.elapsed_ms,
    (select count(*) from claims c where c.purpose = 'notice' and c.holder = o.id)
  from capacity_offers o, capacity_queue q where o.mode = 'reserve' and o.state in ('open', 'lapsed')`;

/** A cell counts its time in ticks of a second; two may pass until an offer's beginning is in it. */
const ticksMs = 2_500;

export class Holds {
  readonly #world: World;
  readonly #tell: (what: string) => void;
  /** By offer: when its time is over in the world. */
  readonly #due = new Map<string, number>();
  readonly #told = new Set<string>();
  /** Holds that were seen, and those that were seen to run out. */
  seen = 0;
  lapsed = 0;

  constructor(world: World, tell: (what: string) => void) {
    this.#world = world;
    this.#tell = tell;
  }

  afterCommit(store: string, look: Look): void {
    for (const [id = '', state, count, leftMs, claims] of look(held)) {
      const key = `${store} ${id}`;
      if (state === 'open') this.#open(key, Number(leftMs), claims === count);
      else this.#lapsed(key, Number(leftMs));
    }
  }

  #open(key: string, leftMs: number, isWhole: boolean): void {
    if (!this.#due.has(key)) {
      this.seen++;
      this.#due.set(key, this.#world.nowMs + leftMs);
    }
    if (!isWhole) this.#once(key, 'is open, and not all of it is held');
  }

  #lapsed(key: string, leftMs: number): void {
    const due = this.#due.get(key);
    if (due === undefined) return;
    this.#due.delete(key);
    this.lapsed++;
    if (leftMs > 0) this.#once(key, `lapsed ${leftMs} ms before its time`);
    const earlyMs = due - this.#world.nowMs;
    if (earlyMs > ticksMs) this.#once(key, `lapsed ${earlyMs.toFixed(0)} ms early by the world's time`);
  }

  #once(key: string, what: string): void {
    if (this.#told.has(key)) return;
    this.#told.add(key);
    this.#tell(`I9: ${key} ${what}`);
  }
}
