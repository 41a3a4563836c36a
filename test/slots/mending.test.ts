/** Who violates a constraint is moved: few at a time, and never back and forth, whatever hosts report. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AdverseBook } from '#slots/adverse.ts';
import type { Amount } from '#slots/amount.ts';
import {
  type Cause,
  calmMin,
  dueMoves,
  type MendingState,
  mayMoveTo,
  mendingLimits,
  movesInRow,
  reliefOf,
  restMsOf,
  type Sighting,
} from '#slots/mending.ts';
import { amount, seeded } from './support.ts';

const minute = 60_000;
const calmAll = (): number => 1;
const still: MendingState = { moving: [], settling: [] };
const sighting = (instanceId: string, hostId: string, more: Partial<Sighting> = {}): Sighting => ({
  ...{ instanceId, hostId, cause: 'spread', stoodMs: minute, amount: amount(250, 128) },
  ...more,
});
const ids = (due: readonly Sighting[]): string[] => due.map(({ instanceId }) => instanceId);

test('S4.5 a violation moves once it has stood; of one host one VM at a time, of a cell a few', () => {
  const fresh = sighting('i-fresh', 'h-1', { stoodMs: 100 });
  const many = Array.from({ length: 9 }, (_, n) => sighting(`i-${n}`, `h-${n % 6}`, { stoodMs: 90_000 - n }));
  assert.deepEqual(ids(dueMoves([fresh], still, mendingLimits)), []);
  assert.deepEqual(ids(dueMoves(many, still, mendingLimits)), ['i-0', 'i-1', 'i-2', 'i-3']);
  // Whoever moves, it counts.
  const moving = {
    ...still,
    moving: [
      ['h-0', 'h-9'],
      ['h-7', 'h-1'],
      ['h-8', 'h-5'],
    ],
  };
  assert.deepEqual(ids(dueMoves(many, moving, mendingLimits)), ['i-2']);
  assert.equal(mayMoveTo('h-9', many[2] ?? fresh, moving, calmAll, mendingLimits), false);
  assert.equal(mayMoveTo('h-6', many[2] ?? fresh, moving, calmAll, mendingLimits), true);
});

test('who was moved rests, longer each time; a group is not kept waiting for it by a move for performance', () => {
  const last = (agoMs: number, cause: Cause, moves: number) => ({ last: { agoMs, cause, moves } });
  const due = (more: Partial<Sighting>): boolean =>
    dueMoves([sighting('i', 'h', more)], still, mendingLimits).length === 1;
  const slow = { cause: 'performance', stoodMs: 10 * minute } as const;
  assert.equal(due({ ...slow, ...last(59 * minute, 'performance', 1) }), false);
  assert.equal(due({ ...slow, ...last(61 * minute, 'performance', 1) }), true);
  assert.equal(due({ ...slow, ...last(61 * minute, 'performance', 2) }), false);
  assert.equal(due(last(5 * minute, 'performance', 1)), true);
  assert.equal(due(last(1_000, 'spread', 1)), false);
  assert.equal(due({ triedAgoMs: 1_000 }), false);
  assert.equal(restMsOf({ cause: 'performance', moves: 60 }, mendingLimits), mendingLimits.restMsMax);
  assert.equal(movesInRow(last(mendingLimits.restMsMax, 'spread', 7).last, mendingLimits), 0);
});

test('for performance one moves to a host that is calmer for certain, and a host that one has left settles first', () => {
  const pressed = sighting('i', 'h-1', { cause: 'performance', stoodMs: 10 * minute });
  const calm = (of: Readonly<Record<string, number>>) => (hostId: string) => of[hostId] ?? 1;
  const may = (to: string, of: Readonly<Record<string, number>>, state = still): boolean =>
    mayMoveTo(to, pressed, state, calm(of), mendingLimits);
  assert.equal(may('h-2', { 'h-1': 0 }), true);
  assert.equal(may('h-2', { 'h-1': 0.45, 'h-2': 0.6 }), false, 'hardly calmer');
  assert.equal(may('h-2', { 'h-1': 0, 'h-2': 0.3 }), false, 'pressed too');
  const settling = { ...still, settling: [{ hostId: 'h-2', agoMs: minute }] };
  assert.equal(may('h-2', { 'h-1': 0 }, settling), false);
  const left = { ...still, settling: [{ hostId: 'h-1', agoMs: minute }] };
  assert.deepEqual(dueMoves([pressed], left, mendingLimits), []);
  assert.equal(
    dueMoves([sighting('i', 'h-1')], left, mendingLimits).length,
    1,
    'a group does not wait for that',
  );
});

test('from a host that has promised too much the smallest goes that gives back all, else the one that gives most', () => {
  const vm = (instanceId: string, size: Amount) => ({ instanceId, amount: size });
  const all = [
    vm('i-big', amount(4_000, 4_096)),
    vm('i-mid', amount(1_000, 1_024)),
    vm('i-small', amount(250, 128)),
  ];
  const of = (vcpus: number, memory: number): string | undefined =>
    reliefOf(amount(vcpus, memory), all)?.instanceId;
  assert.equal(of(0, 900), 'i-mid');
  assert.equal(of(0, 100), 'i-small');
  assert.equal(of(0, 9_000), 'i-big');
  assert.equal(of(500, 64), 'i-mid');
  assert.equal(reliefOf(amount(0, 0, 1_000), all), undefined, 'none has a disk');
});

interface ModelVm {
  host: number;
  readonly load: number;
  readonly amount: Amount;
  last?: { at: number; cause: Cause; moves: number } | undefined;
  since?: number | undefined;
}

/** Hosts that report pressure while what runs there is more than they have; loads change now and then. */
class World {
  readonly vms: ModelVm[];
  readonly moves: { vm: number; at: number; from: number; to: number }[] = [];
  readonly #hosts: number;
  readonly #book = new AdverseBook();
  readonly #random: () => number;
  readonly #noise: number;
  #moving: { vm: number; to: number; until: number }[] = [];
  #settling: { hostId: string; at: number }[] = [];
  now = 0;

  constructor(seed: number, hosts: number, loads: readonly number[], noise: number) {
    this.#random = seeded(seed);
    this.#hosts = hosts;
    this.#noise = noise;
    this.vms = loads.map((load) => ({
      host: Math.floor(this.#random() * hosts),
      ...{ load, amount: amount(Math.round(load * 1_000), 128) },
    }));
  }

  isPressed(host: number): boolean {
    return this.vms.reduce((sum, vm) => sum + (vm.host === host ? vm.load : 0), 0) > 2;
  }

  readonly #calm = (hostId: string): number => this.#book.calm(hostId, this.now);

  step(): void {
    this.now += minute;
    for (const { vm, to } of this.#moving.filter(({ until }) => until <= this.now)) {
      const moved = this.vms[vm];
      if (moved !== undefined) moved.host = to;
    }
    this.#moving = this.#moving.filter(({ until }) => until > this.now);
    this.#settling = this.#settling.filter(({ at }) => this.now - at < mendingLimits.settleMs);
    for (let host = 0; host < this.#hosts; host++)
      if (this.isPressed(host) !== this.#random() < this.#noise)
        this.#book.report(
          { kind: 'steal', hostId: `${host}`, hostClass: 'c', running: new Map([['t', 1]]) },
          this.now,
        );
    this.#mend();
  }

  #state(): MendingState {
    return {
      moving: this.#moving.map(({ vm, to }) => [`${this.vms[vm]?.host}`, `${to}`]),
      settling: this.#settling.map(({ hostId, at }) => ({ hostId, agoMs: this.now - at })),
    };
  }

  #mend(): void {
    const sightings = this.vms.flatMap((vm, at) => {
      const seen = this.#calm(`${vm.host}`) < calmMin && !this.#moving.some((move) => move.vm === at);
      vm.since = seen ? (vm.since ?? this.now) : undefined;
      return vm.since === undefined ? [] : [this.#sighting(vm, at, vm.since)];
    });
    for (const { instanceId } of dueMoves(sightings, this.#state(), mendingLimits)) {
      // As the cell does it: each is decided anew, after those that began before it.
      const state = this.#state();
      const own = sightings.filter((each) => each.instanceId === instanceId);
      const [seen] = dueMoves(own, state, mendingLimits);
      if (seen === undefined) continue;
      const to = Array.from({ length: this.#hosts }, (_, host) => host).find(
        (host) => `${host}` !== seen.hostId && mayMoveTo(`${host}`, seen, state, this.#calm, mendingLimits),
      );
      if (to !== undefined) this.#begin(seen, to);
    }
    assert.ok(this.#moving.length <= mendingLimits.perCellMax);
    const busy = this.#moving.flatMap(({ vm, to }) => [this.vms[vm]?.host, to]);
    assert.equal(new Set(busy).size, busy.length, 'a host takes part in one move at a time');
  }

  #sighting(vm: ModelVm, at: number, since: number): Sighting {
    const last = vm.last && { ...vm.last, agoMs: this.now - vm.last.at };
    return {
      ...{ instanceId: `${at}`, hostId: `${vm.host}`, cause: 'performance', amount: vm.amount },
      stoodMs: this.now - since,
      ...(last === undefined ? {} : { last }),
    };
  }

  #begin(seen: Sighting, to: number): void {
    const at = Number(seen.instanceId);
    const vm = this.vms[at];
    if (vm === undefined) return;
    this.moves.push({ vm: at, at: this.now, from: vm.host, to });
    vm.last = { at: this.now, cause: seen.cause, moves: movesInRow(seen.last, mendingLimits) + 1 };
    for (const hostId of [`${vm.host}`, `${to}`]) this.#settling.push({ hostId, at: this.now });
    this.#moving.push({ vm: at, to, until: this.now + minute });
  }
}

const day = 24 * 60;

test('no ping-pong: a VM that presses every host it comes to moves at most five times a day, each time after a longer rest', () => {
  const loads = fc.array(fc.double({ min: 0.1, max: 3, noNaN: true }), { minLength: 1, maxLength: 10 });
  fc.assert(
    fc.property(
      fc.nat(),
      fc.integer({ min: 2, max: 6 }),
      loads,
      fc.constantFrom(0, 0.1),
      (seed, hosts, all, noise) => {
        const world = new World(seed, hosts, all, noise);
        for (let n = 0; n < day; n++) world.step();
        for (let vm = 0; vm < all.length; vm++) {
          const own = world.moves.filter((move) => move.vm === vm);
          assert.ok(own.length <= 5, `${own.length} moves of one VM`);
          for (const [at, move] of own.entries()) {
            const next = own[at + 1];
            assert.ok(next === undefined || next.at - move.at >= 60 * 2 ** at * minute, 'it has rested');
          }
        }
        // A host takes part in a move, and then settles: three an hour at most, whatever is reported of it.
        for (let host = 0; host < hosts; host++)
          assert.ok(world.moves.filter(({ from }) => from === host).length <= 3 * 24);
      },
    ),
    { numRuns: 60 },
  );
});

test('a host that is pressed beside empty ones is relieved, and then nothing moves any more', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 3, max: 6 }), (seed, hosts) => {
      const world = new World(seed, hosts, [0.8, 0.8, 0.8], 0);
      for (const vm of world.vms) vm.host = 0;
      for (let n = 0; n < day; n++) world.step();
      assert.equal(world.isPressed(0), false);
      assert.deepEqual(
        world.moves.map(({ from }) => from),
        [0],
        'one move was enough',
      );
    }),
    { numRuns: 20 },
  );
});
