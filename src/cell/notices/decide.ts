/**
 * Who of those that wait is offered what is free: pure, so that the simulation and the cell run the same rules.
 *
 * - In order of place. What does not fit passes its turn on, and that is counted: younger ones that fit are served before it.
 * - Requests of one class ask for the same, so within a class nobody is served before who is ahead.
 * - With k free, at most k × `toldFactor` are told: an offer that is reserved takes its slots, and one slot is set aside for each
 *   `toldFactor` that are to race for it.
 * - The original wins: its alternatives are looked at only where it does not fit now.
 * - One request at a time accumulates: the earliest that was passed over `passedOverMax` times. It comes before everybody else, keeps
 *   whole parts wherever they fit, and on a few chosen hosts all that becomes free there, until its parts are whole.
 */
import { type Amount, clamped, dimensionNames, equal, fits, minus, nothing, plus } from '#slots/amount.ts';

export { nothing } from '#slots/amount.ts';
export type OfferMode = 'reserve' | 'race';

export interface Option {
  readonly type: string;
  readonly count: number;
  /** Of one part. */
  readonly amount: Amount;
}

/** What of one part is reserved already, and where; a part is whole when this is the option's amount. */
export interface Part {
  /** Its number among the parts of the request: it keeps it. */
  readonly part: number;
  readonly hostId: string;
  readonly amount: Amount;
}

export interface Waiting {
  readonly id: string;
  readonly position: number;
  readonly mode: OfferMode;
  /** The original first. */
  readonly options: readonly Option[];
  readonly passedOver: number;
  /** It accumulates: its parts so far, of its original. */
  readonly parts?: readonly Part[];
}

export interface HostRoom {
  readonly hostId: string;
  readonly free: Amount;
  /** All that it could have free. */
  readonly limit: Amount;
}

export interface QueueRules {
  readonly toldFactor: number;
  readonly passedOverMax: number;
  /** Hosts on which one request accumulates parts that are not whole yet. */
  readonly partialHostsMax: number;
  /** Of how many it is counted that they were passed over: the earliest. */
  readonly countedMax: number;
  /** Offers of one decision. */
  readonly offersMax: number;
}

export const queueRules: QueueRules = {
  toldFactor: 2,
  passedOverMax: 8,
  partialHostsMax: 4,
  countedMax: 32,
  offersMax: 8,
};

export type Decision =
  /** All of an option, one host for each part; none for who is to race. */
  | {
      readonly kind: 'offer';
      readonly id: string;
      readonly option: number;
      readonly hostIds: readonly string[];
    }
  /** The parts that it has from now on, those of before included. `whole`: it is offered its original. */
  | {
      readonly kind: 'accumulate';
      readonly id: string;
      readonly parts: readonly Part[];
      readonly whole: boolean;
    };

export interface Decided {
  readonly decisions: readonly Decision[];
  /** Those that somebody younger was served before. */
  readonly passedOver: readonly string[];
}

export interface QueueState {
  /** In any order. */
  readonly waiting: readonly Waiting[];
  readonly hosts: readonly HostRoom[];
  /** Instances that those who were told to race are after, by type. */
  readonly racing: ReadonlyMap<string, number>;
  /** A host that does not take a type: its pool gives no slots of it, or it was asked and did not. */
  readonly refused?: (hostId: string, type: string) => boolean;
}

const share = (free: Amount, amount: Amount): number =>
  dimensionNames.reduce((sum, name) => {
    const left = free[name] - amount[name];
    return sum + (Number.isFinite(left) ? left / (free[name] + 1) : 0);
  }, 0);

/** What is free on each host while decisions are made. */
class Room {
  readonly #free: Map<string, Amount>;
  readonly #limits: Map<string, Amount>;
  readonly #refused: NonNullable<QueueState['refused']>;

  constructor({ hosts, refused = () => false }: Pick<QueueState, 'hosts' | 'refused'>) {
    this.#free = new Map(hosts.map(({ hostId, free }) => [hostId, clamped(free)]));
    this.#limits = new Map(hosts.map(({ hostId, limit }) => [hostId, limit]));
    this.#refused = refused;
  }

  free(hostId: string): Amount | undefined {
    return this.#free.get(hostId);
  }

  take(hostId: string, amount: Amount): void {
    const free = this.#free.get(hostId);
    if (free !== undefined) this.#free.set(hostId, clamped(minus(free, amount)));
  }

  give(hostId: string, amount: Amount): void {
    const free = this.#free.get(hostId);
    if (free !== undefined) this.#free.set(hostId, plus(free, amount));
  }

  /** A whole part lies there for good: what is left of the host may carry another one, or may not. */
  reserved({ hostId, amount }: Part): void {
    const limit = this.#limits.get(hostId);
    if (limit !== undefined) this.#limits.set(hostId, minus(limit, amount));
  }

  /** The host where this fits with the least left over; its room is taken. */
  takeBest(type: string, amount: Amount): string | undefined {
    let best: string | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const [hostId, free] of this.#free) {
      if (!fits(free, amount) || this.#refused(hostId, type)) continue;
      const left = share(free, amount);
      if (left < least) [best, least] = [hostId, left];
    }
    if (best !== undefined) this.take(best, amount);
    return best;
  }

  /** A host for each part, or none at all: then nothing is taken. */
  takeAll({ type, count, amount }: Option): readonly string[] | undefined {
    const before = new Map(this.#free);
    const hostIds: string[] = [];
    while (hostIds.length < count) {
      const hostId = this.takeBest(type, amount);
      if (hostId === undefined) {
        for (const [id, free] of before) this.#free.set(id, free);
        return undefined;
      }
      hostIds.push(hostId);
    }
    return hostIds;
  }

  /** The host that could carry a part and lacks least of it; those in `not` are left out. */
  nearest(type: string, amount: Amount, not: ReadonlySet<string>): string | undefined {
    let best: string | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const [hostId, free] of this.#free) {
      const limit = this.#limits.get(hostId);
      if (not.has(hostId) || limit === undefined || !fits(limit, amount)) continue;
      if (this.#refused(hostId, type)) continue;
      const lack = dimensionNames.reduce(
        (sum, name) => sum + (amount[name] <= 0 ? 0 : Math.max(0, amount[name] - free[name]) / amount[name]),
        0,
      );
      if (lack < least) [best, least] = [hostId, lack];
    }
    return best;
  }
}

const isWhole = (part: Part, amount: Amount): boolean =>
  dimensionNames.every((name) => part.amount[name] >= amount[name]);

/** As much of what a part still lacks as is free there. */
const grown = (part: Part, amount: Amount, room: Room): Part => {
  const free = room.free(part.hostId);
  if (free === undefined) return part;
  const lacks = clamped(minus(amount, part.amount));
  const more: Amount = {
    vcpusMilli: Math.min(lacks.vcpusMilli, free.vcpusMilli),
    memoryMib: Math.min(lacks.memoryMib, free.memoryMib),
    diskMib: Math.min(lacks.diskMib, free.diskMib),
    networkMbps: Math.min(lacks.networkMbps, free.networkMbps),
  };
  room.take(part.hostId, more);
  return { ...part, amount: plus(part.amount, more) };
};

/** A part that is not whole: where it fits whole by now, else grown where it is. */
const wholeElsewhere = (part: Part, { type, amount }: Option, room: Room): Part => {
  const more = grown(part, amount, room);
  if (isWhole(more, amount)) return more;
  const hostId = room.takeBest(type, amount);
  if (hostId === undefined) return more;
  room.give(more.hostId, more.amount);
  return { part: part.part, hostId, amount };
};

const accumulate = (waiting: Waiting, room: Room, rules: QueueRules): Decision | undefined => {
  const [original] = waiting.options;
  if (original === undefined) return undefined;
  const { type, count, amount } = original;
  const before = waiting.parts ?? [];
  // What lies on a host that takes no VMs any more is given back.
  const there = before.filter(({ hostId }) => room.free(hostId) !== undefined);
  const numbers = Array.from({ length: count }, (_, at) => at).filter(
    (number) => !there.some(({ part }) => part === number),
  );
  const parts = there.map((part) => (isWhole(part, amount) ? part : wholeElsewhere(part, original, room)));
  for (const part of parts) if (isWhole(part, amount)) room.reserved(part);
  while (parts.length < count) {
    const hostId = room.takeBest(type, amount);
    if (hostId === undefined) break;
    const part = { part: numbers.shift() ?? 0, hostId, amount };
    room.reserved(part);
    parts.push(part);
  }
  const taken = new Set(parts.filter((part) => !isWhole(part, amount)).map(({ hostId }) => hostId));
  while (parts.length < count && taken.size < rules.partialHostsMax) {
    const hostId = room.nearest(type, amount, taken);
    if (hostId === undefined) break;
    taken.add(hostId);
    parts.push(grown({ part: numbers.shift() ?? 0, hostId, amount: nothing }, amount, room));
  }
  const whole = parts.length === count && parts.every((part) => isWhole(part, amount));
  const same =
    waiting.parts !== undefined &&
    before.length === parts.length &&
    before.every((part, at) => {
      const now = parts[at];
      return now !== undefined && now.hostId === part.hostId && equal(part.amount, now.amount);
    });
  return same && !whole ? undefined : { kind: 'accumulate', id: waiting.id, parts, whole };
};

/** The one that accumulates, or that is to begin now: those who are to race reserve nothing. */
const accumulating = (waiting: readonly Waiting[], rules: QueueRules): Waiting | undefined =>
  waiting.find(({ parts }) => parts !== undefined) ??
  waiting.find(({ mode, passedOver }) => mode === 'reserve' && passedOver >= rules.passedOverMax);

/** How many more may be told of a type without another slot being set aside. */
class Racers {
  readonly #credit = new Map<string, number>();
  readonly #room: Room;
  readonly #factor: number;

  constructor(room: Room, factor: number) {
    this.#room = room;
    this.#factor = factor;
  }

  /** Those who were told before: their slots are set aside again, as far as they are there. */
  again(option: Option, told: number): void {
    for (let left = told; left > 0; left -= this.#factor) {
      const there = this.#room.takeBest(option.type, option.amount) !== undefined;
      this.#credit.set(option.type, there ? Math.max(0, this.#factor - left) : 0);
    }
  }

  admit({ type, count, amount }: Option): boolean {
    const credit = this.#credit.get(type) ?? 0;
    const more = Math.ceil((count - credit) / this.#factor);
    if (more <= 0) {
      this.#credit.set(type, credit - count);
      return true;
    }
    if (this.#room.takeAll({ type, amount, count: more }) === undefined) return false;
    this.#credit.set(type, credit + more * this.#factor - count);
    return true;
  }
}

const offerOf = (waiting: Waiting, room: Room, racers: Racers): Decision | undefined => {
  for (const [at, option] of waiting.options.entries()) {
    if (waiting.mode === 'race') {
      if (racers.admit(option)) return { kind: 'offer', id: waiting.id, option: at, hostIds: [] };
      continue;
    }
    const hostIds = room.takeAll(option);
    if (hostIds !== undefined) return { kind: 'offer', id: waiting.id, option: at, hostIds };
  }
  return undefined;
};

/** What was found not to fit is not tried again in one decision: room only becomes less. */
const askedFor = ({ mode, options }: Waiting): string =>
  `${mode} ${options.map(({ type, count, amount }) => `${type}*${count}/${amount.diskMib}`).join()}`;

export const decide = (state: QueueState, rules: QueueRules = queueRules): Decided => {
  const waiting = state.waiting.toSorted((a, b) => a.position - b.position);
  const room = new Room(state);
  const decisions: Decision[] = [];
  const first = accumulating(waiting, rules);
  const gathered = first === undefined ? undefined : accumulate(first, room, rules);
  if (gathered !== undefined) decisions.push(gathered);
  const racers = new Racers(room, rules.toldFactor);
  for (const [type, told] of state.racing) {
    const option = waiting.flatMap(({ options }) => options).find((each) => each.type === type);
    if (option !== undefined) racers.again(option, told);
  }
  const missed: string[] = [];
  const passedOver = new Set<string>();
  const lacking = new Set<string>();
  for (const each of waiting) {
    if (decisions.length >= rules.offersMax) break;
    if (each === first) continue;
    const what = askedFor(each);
    const offer = lacking.has(what) ? undefined : offerOf(each, room, racers);
    if (offer === undefined) {
      lacking.add(what);
      if (missed.length < rules.countedMax) missed.push(each.id);
      continue;
    }
    decisions.push(offer);
    for (const id of missed) passedOver.add(id);
  }
  return { decisions, passedOver: [...passedOver] };
};
