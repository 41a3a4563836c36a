/**
 * The region simulator: the production code of router, region and cells over simulated hosts, in one process, in virtual time.
 *
 *   node bench/simulate.ts [--seeds 100] [--from 1] [--seconds 30] [--cells 3] [--hosts 4] [--clients 4] [--faults kill,cut]
 *   node bench/simulate.ts --break NAME,…        rules of the code broken one by one (`mutations.ts`): succeeds when seeds find them
 *   node bench/simulate.ts --mutations           each of them in turn, first by the seed that is known to find it
 *   node bench/simulate.ts --seed S --replay     the trace of one seed; with the same sizes it has the same hash
 *
 * `node --max-semi-space-size=64 --min-semi-space-size=32 bench/simulate.ts` collects less often, and costs about a sixth less.
 */
import { parseArgs } from 'node:util';
import { faultKinds } from '../test/simulation/faults.ts';
import { type Mutation, mutations, runOf, simulatorWith } from '../test/simulation/mutations.ts';
import { type SimulationOptions, type SimulationResult, simulate } from '../test/simulation/simulate.ts';
import { engineCosts } from '../test/simulation/store.ts';
import { makeTemplate } from '../test/simulation/template.ts';
import { useScratch } from './support/scratch.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    replay: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '30' },
    cells: { type: 'string', default: '3' },
    hosts: { type: 'string', default: '4' },
    clients: { type: 'string', default: '4' },
    faults: { type: 'string' },
    every: { type: 'string', default: '4' },
    first: { type: 'string', default: '0.5' },
    break: { type: 'string' },
    mutations: { type: 'boolean', default: false },
    logs: { type: 'boolean', default: false },
    costs: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(
    'node bench/simulate.ts [--seeds N] [--from S] [--seconds N] [--cells N] [--hosts N] [--clients N] [--faults a,b] [--every SECONDS] [--first SECONDS] [--break NAME] [--costs]\nnode bench/simulate.ts --seed S --replay\nnode bench/simulate.ts --mutations',
  );
  process.exit(0);
}
const named = values.break?.split(',') ?? [];
const chosen = values.mutations
  ? mutations
  : named.flatMap((name) => mutations.filter((mutation) => mutation.name === name));
if (chosen.length < named.length)
  throw new RangeError(`--break takes one of ${mutations.map(({ name }) => name).join(', ')}`);
const shape = {
  cells: Number(values.cells),
  processorsPerCell: 2,
  hostsPerCell: Number(values.hosts),
  routers: 2,
  accounts: 3,
};
const sizes = ['seconds', 'cells', 'hosts', 'clients', 'faults', 'every', 'first'] as const;
const sized = sizes
  .flatMap((name) => (values[name] === undefined ? [] : [`--${name} ${values[name]}`]))
  .join(' ');
const faults =
  values.faults === undefined
    ? undefined
    : faultKinds.filter((kind) => values.faults?.split(',').includes(kind));
useScratch();
const template = await makeTemplate(shape);
const seeds =
  values.seed === undefined
    ? Array.from({ length: Number(values.seeds) }, (_, at) => Number(values.from) + at)
    : [Number(values.seed)];
const totals = { seeds: 0, failed: 0, events: 0, virtualMs: 0, realMs: 0, cpuMs: 0, instances: 0, checks: 0 };
const asGiven: Run = {
  workMs: Number(values.seconds) * 1_000,
  faultEveryMs: Number(values.every) * 1_000,
  faultFromMs: Number(values.first) * 1_000,
  clients: Number(values.clients),
  ...(faults === undefined ? {} : { faults }),
};

type Run = Pick<
  SimulationOptions,
  'workMs' | 'clients' | 'faults' | 'faultEveryMs' | 'faultFromMs' | 'stopsWhenBroken'
>;

const runSeed = async (seed: number, run: Run, simulator = simulate): Promise<SimulationResult> => {
  const result = await simulator({
    ...{ template, seed, ...run },
    ...(values.replay ? { tell: (line: string) => console.log(line) } : {}),
  });
  totals.seeds++;
  for (const name of ['events', 'virtualMs', 'realMs', 'cpuMs', 'instances', 'checks'] as const)
    totals[name] += result[name];
  const { hash, events, virtualMs, realMs, cpuMs, broken } = result;
  console.log(
    JSON.stringify({
      seed,
      hash: hash.slice(0, 16),
      events,
      virtualS: Math.round(virtualMs / 1000),
      realS: Number((realMs / 1000).toFixed(2)),
      timesReal: Number((virtualMs / realMs).toFixed(1)),
      timesCpu: Number((virtualMs / cpuMs).toFixed(1)),
      instances: result.instances,
      faults: result.faults,
      holds: result.holds,
      broken: broken.length,
      phases: Object.entries(result.phases)
        .map(
          ([name, { virtualMs, cpuMs, statements }]) =>
            `${name} ${(virtualMs / 1000).toFixed(1)} s in ${(cpuMs / 1000).toFixed(2)} s of CPU, ${statements} statements`,
        )
        .join('; '),
    }),
  );
  if (values.logs) for (const line of result.logged) console.log(line.trimEnd());
  if (values.seed !== undefined) console.log(JSON.stringify(result.calls, null, 1));
  return result;
};

/** The seed that finds it first, by the run that is known to and then by those that were asked for. */
const findBroken = async (mutation: Mutation): Promise<boolean> => {
  const simulator = await simulatorWith(mutation);
  const { foundBy } = mutation;
  const known = foundBy === undefined ? [] : [{ seed: foundBy.seed, run: { ...asGiven, ...runOf(foundBy) } }];
  for (const { seed, run } of [...known, ...seeds.map((seed) => ({ seed, run: asGiven }))]) {
    const { broken } = await runSeed(seed, { ...run, stopsWhenBroken: true }, simulator);
    if (broken.length === 0) continue;
    console.log(`found by seed ${seed}: ${mutation.name}: ${broken[0]}`);
    return true;
  }
  console.log(`NOT FOUND: ${mutation.name}: ${mutation.rule}`);
  return false;
};

if (chosen.length > 0) {
  for (const mutation of chosen) if (!(await findBroken(mutation))) totals.failed++;
} else
  for (const seed of seeds) {
    const { broken, tail } = await runSeed(seed, asGiven);
    if (broken.length === 0) continue;
    totals.failed++;
    console.log(
      `${tail.slice(-40).join('\n')}\n\nSEED ${seed} FAILED\n${broken.join('\n')}\nreplay: node bench/simulate.ts --seed ${seed} --replay ${sized}\n`,
    );
  }
console.log(
  JSON.stringify({
    ...totals,
    timesReal: Number((totals.virtualMs / totals.realMs).toFixed(1)),
    timesCpu: Number((totals.virtualMs / totals.cpuMs).toFixed(1)),
  }),
);
if (values.costs) {
  const all = [...engineCosts].sort(([, one], [, other]) => other.ms - one.ms);
  const ms = all.reduce((sum, [, cost]) => sum + cost.ms, 0);
  const count = all.reduce((sum, [, cost]) => sum + cost.count, 0);
  console.log(`engine: ${ms.toFixed(0)} ms in ${count} statements`);
  for (const [sql, cost] of all.slice(0, 40))
    console.log(
      `${cost.ms.toFixed(0).padStart(7)} ms ${String(cost.count).padStart(7)} × ${sql.replaceAll(/\s+/g, ' ').trim().slice(0, 120)}`,
    );
}
await template.close();
process.exitCode = totals.failed > 0 ? 1 : 0;
