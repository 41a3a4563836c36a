/**
 * The region simulator: the production code of router, region and cells over simulated hosts, in one process, in virtual time.
 *
 *   node bench/simulate.ts [--seeds 100] [--from 1] [--seconds 30] [--cells 3] [--hosts 4] [--clients 4] [--faults kill,cut]
 *   node bench/simulate.ts --break NAME          a rule of the code broken (`mutations.ts`): succeeds when a seed finds it
 *   node bench/simulate.ts --mutations           each of them in turn, in a process of its own
 *   node bench/simulate.ts --seed S --replay     the trace of one seed; with the same sizes it has the same hash
 */
import { parseArgs } from 'node:util';
import { faultKinds } from '../test/simulation/faults.ts';
import { breakRule, mutations } from '../test/simulation/mutations.ts';
import { runMutations } from './support/simulatedMutations.ts';

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
    break: { type: 'string' },
    mutations: { type: 'boolean', default: false },
    logs: { type: 'boolean', default: false },
    costs: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(
    'node bench/simulate.ts [--seeds N] [--from S] [--seconds N] [--cells N] [--hosts N] [--clients N] [--faults a,b] [--every SECONDS] [--break NAME] [--costs]\nnode bench/simulate.ts --seed S --replay\nnode bench/simulate.ts --mutations',
  );
  process.exit(0);
}
if (values.mutations) process.exit(await runMutations());
const mutation = mutations.find(({ name }) => name === values.break);
if (values.break !== undefined && mutation === undefined)
  throw new RangeError(`--break takes one of ${mutations.map(({ name }) => name).join(', ')}`);
if (mutation !== undefined) breakRule(mutation);
const { simulate } = await import('../test/simulation/simulate.ts');
const { engineCosts } = await import('../test/simulation/store.ts');
const { makeTemplate } = await import('../test/simulation/template.ts');
const shape = {
  cells: Number(values.cells),
  processorsPerCell: 2,
  hostsPerCell: Number(values.hosts),
  routers: 2,
  accounts: 3,
};
const sizes = ['seconds', 'cells', 'hosts', 'clients', 'faults', 'every'] as const;
const sized = sizes
  .flatMap((name) => (values[name] === undefined ? [] : [`--${name} ${values[name]}`]))
  .join(' ');
const faults =
  values.faults === undefined
    ? undefined
    : faultKinds.filter((kind) => values.faults?.split(',').includes(kind));
const template = await makeTemplate(shape);
const seeds =
  values.seed === undefined
    ? Array.from({ length: Number(values.seeds) }, (_, at) => Number(values.from) + at)
    : [Number(values.seed)];
const totals = { seeds: 0, failed: 0, events: 0, virtualMs: 0, realMs: 0, cpuMs: 0, instances: 0, checks: 0 };
for (const seed of seeds) {
  const result = await simulate({
    ...{ template, seed, workMs: Number(values.seconds) * 1_000, clients: Number(values.clients) },
    ...(faults === undefined ? {} : { faults }),
    faultEveryMs: Number(values.every) * 1_000,
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
    }),
  );
  if (values.logs) for (const line of result.logged) console.log(line.trimEnd());
  if (values.seed !== undefined) console.log(JSON.stringify(result.calls, null, 1));
  if (broken.length === 0) continue;
  totals.failed++;
  if (mutation !== undefined) {
    console.log(`found by seed ${seed}: ${mutation.name}: ${broken[0]}`);
    break;
  }
  console.log(
    `${result.tail.slice(-40).join('\n')}\n\nSEED ${seed} FAILED\n${broken.join('\n')}\nreplay: node bench/simulate.ts --seed ${seed} --replay ${sized}\n`,
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
process.exitCode = totals.failed > 0 === (mutation !== undefined) ? 0 : 1;
