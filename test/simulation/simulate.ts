/** One run of one seed. */
import { cellNumberOf } from '#contracts/ids.ts';
import { Cloud } from './cloud.ts';
import { type FaultKind, Faults, faultKinds } from './faults.ts';
import { Invariants } from './invariants.ts';
import { Network } from './network.ts';
import { randomOf } from './random.ts';
import { install } from './runtime.ts';
import * as names from './shape.ts';
import { SimStore } from './store.ts';
import type { Template } from './template.ts';
import { Trace } from './trace.ts';
import { Workload } from './workload.ts';
import { World } from './world.ts';

export interface SimulationOptions {
  readonly template: Template;
  readonly seed: number;
  /** How long clients work, in virtual time. */
  readonly workMs: number;
  readonly clients: number;
  /** Default: some of all, as the seed says. */
  readonly faults?: readonly FaultKind[];
  readonly faultEveryMs?: number;
  /** When the first one may come. */
  readonly faultFromMs?: number;
  /** Ends at the first thing that does not hold. */
  readonly stopsWhenBroken?: boolean;
  /** A deliberate fault in what stores are asked. */
  rewrite?(sql: string): string;
  /** Told when all processes have ended. */
  atEnd?(stores: ReadonlyMap<string, SimStore>): void;
  /** Gets each line of the trace. */
  tell?(line: string): void;
}

export interface Phase {
  readonly virtualMs: number;
  readonly cpuMs: number;
  readonly statements: number;
}

export interface SimulationResult {
  readonly seed: number;
  readonly hash: string;
  readonly events: number;
  readonly virtualMs: number;
  readonly realMs: number;
  readonly cpuMs: number;
  /** What did not hold. Empty: all did. */
  readonly broken: readonly string[];
  readonly tail: readonly string[];
  readonly faults: Readonly<Record<string, number>>;
  readonly calls: Readonly<Record<string, number>>;
  readonly instances: number;
  readonly checks: number;
  /** Capacity that was held for requests, and how often it was let go at its time. */
  readonly holds: { readonly seen: number; readonly lapsed: number };
  /** What each part of the run took: until all are up, while clients work, and until all rests. */
  readonly phases: Readonly<Record<'up' | 'work' | 'rest', Phase>>;
  readonly logged: readonly string[];
}

const upMsMax = 30_000;
/** How long everything may take to come to rest once all is mended: the longest time-out is of a call for an image, ten minutes. */
const restMsMax = 700_000;
const restEveryMs = 1_000;
/** A cell's periodic comparisons of VMs, claims and pools have gone round by then: if all agrees, that is the end. */
const quietMs = 6_000;
/** What does not agree by then never will. */
const quietMsMax = 12_000;
const brokenMax = 20;
/** Of the seeds with faults, how many have routers that do not see a cell. */
const blindPart = 0.3;

/** A third of the seeds have one kind of fault, the others several; one in ten has none. */
const kindsOf = (seed: number): readonly FaultKind[] => {
  const random = randomOf(seed, 'kinds');
  if (random.chance(0.1)) return [];
  const count = random.chance(0.33) ? 1 : random.between(2, faultKinds.length);
  const left = faultKinds.filter((kind) => kind !== 'blind');
  const chosen = Array.from({ length: count }, () => left.splice(random.between(0, left.length), 1)).flat();
  // Drawn apart: what else goes wrong in a seed does not depend on it.
  return randomOf(seed, 'blind').chance(blindPart) ? [...chosen, 'blind'] : chosen;
};

export const simulate = async (options: SimulationOptions): Promise<SimulationResult> => {
  const { template, seed } = options;
  const trace = new Trace(options.tell === undefined ? undefined : (line) => options.tell?.(line));
  const world = new World(seed, trace);
  const network = new Network(world);
  const stores = new Map<string, SimStore>();
  for (const [name, { engine, image }] of template.stores) {
    const store = new SimStore(name, engine, network);
    if (image === undefined) store.reset();
    else store.restore(image);
    if (options.rewrite !== undefined) store.rewrite = (sql) => options.rewrite?.(sql) ?? sql;
    stores.set(name, store);
  }
  const { certificates, shape, directory } = template;
  const cloud = new Cloud({ world, network, stores, certificates, shape, directory });
  const began = performance.now();
  const cpu = process.cpuUsage();
  const uninstall = install(world, network);
  const onError = (error: unknown): void => world.failed(world.current, error);
  process.on('unhandledRejection', onError);
  try {
    const result = await run(options, cloud, stores);
    const { user, system } = process.cpuUsage(cpu);
    return { ...result, realMs: performance.now() - began, cpuMs: (user + system) / 1000 };
  } finally {
    for (const name of names.processNames(shape)) cloud.kill(name);
    await world.run(world.nowMs + 10);
    options.atEnd?.(stores);
    process.off('unhandledRejection', onError);
    uninstall();
  }
};

const run = async (
  options: SimulationOptions,
  cloud: Cloud,
  stores: ReadonlyMap<string, SimStore>,
): Promise<Omit<SimulationResult, 'realMs' | 'cpuMs'>> => {
  const { template, seed, workMs } = options;
  const { world } = cloud;
  const broken: string[] = [];
  const isBroken = (what: string): void => {
    world.tell(`BROKEN ${what}`);
    if (broken.length < brokenMax) broken.push(`at ${world.nowMs.toFixed(0)} ms: ${what}`);
  };
  const invariants = new Invariants(cloud, isBroken);
  world.afterEvent = () => invariants.afterEvent();
  for (const store of stores.values()) store.onCommit = (committed) => invariants.afterCommit(committed);
  const phase = phasesOf(world, stores);
  cloud.startAll();
  const isUp = await world.run(upMsMax, () => isReady(cloud));
  if (!isUp) isBroken('the region did not come up');
  const up = phase();
  let work = up;
  const stops = (): boolean => options.stopsWhenBroken === true && broken.length > 0;
  const untilMs = world.nowMs + workMs;
  const faults = new Faults({
    cloud,
    kinds: options.faults ?? kindsOf(seed),
    fromMs: options.faultFromMs ?? 500,
    untilMs,
    everyMs: options.faultEveryMs ?? 4_000,
  });
  const isForgetful = (instanceId: string): boolean => faults.rewound.has(cellNumberOf(instanceId) ?? 0);
  invariants.isForgetful = isForgetful;
  const { accounts, imageId } = template;
  const workload = new Workload({
    cloud,
    accounts,
    imageId,
    clients: options.clients,
    untilMs,
    broken: isBroken,
    isForgetful,
  });
  if (isUp) {
    workload.start();
    faults.start();
    await world.run(untilMs, stops);
    work = phase();
    faults.heal();
    await world.run(world.nowMs + restMsMax, () => stops() || workload.ended);
    const atRest = (): readonly string[] => invariants.atRest(workload.owned, isForgetful);
    await comeToRest({ world, stores, invariants, isBroken, stops, atRest });
    if (!stops()) for (const what of atRest()) isBroken(what);
  }
  return {
    seed,
    hash: world.trace.digest(),
    events: world.trace.events,
    virtualMs: world.nowMs,
    broken,
    tail: world.trace.tail(),
    faults: Object.fromEntries(faults.counts),
    calls: Object.fromEntries([...workload.counts].sort(([one], [other]) => (one < other ? -1 : 1))),
    instances: workload.owned.length,
    checks: invariants.checks,
    holds: { seen: invariants.holds.seen, lapsed: invariants.holds.lapsed },
    phases: { up, work, rest: phase() },
    logged: cloud.logged.map(({ line }) => line),
  };
};

/** What was used since the last time that it was asked. */
const phasesOf = (world: World, stores: ReadonlyMap<string, SimStore>): (() => Phase) => {
  const now = (): Phase => {
    const { user, system } = process.cpuUsage();
    const statements = [...stores.values()].reduce((sum, store) => sum + store.statements, 0);
    return { virtualMs: world.nowMs, cpuMs: (user + system) / 1000, statements };
  };
  let last = now();
  return () => {
    const before = last;
    last = now();
    return {
      virtualMs: last.virtualMs - before.virtualMs,
      cpuMs: last.cpuMs - before.cpuMs,
      statements: last.statements - before.statements,
    };
  };
};

/** Every processor has every host, and the routers have the cells. */
const isReady = (cloud: Cloud): boolean => {
  const { shape } = cloud.parts;
  const cells = [...cloud.cells.values()];
  return (
    cells.length === shape.cells * shape.processorsPerCell &&
    cells.every(({ services }) => services.hosts.size === shape.hostsPerCell)
  );
};

interface Resting {
  readonly world: World;
  readonly stores: ReadonlyMap<string, SimStore>;
  readonly invariants: Invariants;
  isBroken(what: string): void;
  stops(): boolean;
  /** What does not agree. */
  atRest(): readonly string[];
}

const comeToRest = async ({ world, stores, invariants, isBroken, stops, atRest }: Resting): Promise<void> => {
  const untilMs = world.nowMs + restMsMax;
  let quietSince: number | undefined;
  let left: readonly string[] = [];
  while (world.nowMs < untilMs && !stops()) {
    await world.run(world.nowMs + restEveryMs);
    // What is looked at is what is committed: not in the middle of a transaction.
    await world.run(world.nowMs + restEveryMs, () => [...stores.values()].every(({ isBusy }) => !isBusy));
    left = invariants.unsettled();
    quietSince = left.length > 0 ? undefined : (quietSince ?? world.nowMs);
    const forMs = quietSince === undefined ? 0 : world.nowMs - quietSince;
    if (forMs >= quietMsMax || (forMs >= quietMs && atRest().length === 0)) return;
  }
  if (!stops()) for (const what of left) isBroken(`not at rest: ${what}`);
};
