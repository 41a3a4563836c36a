/**
 * Rebuilds of hosts in the fewest steps: what strategies save, and how soon a skip that goes wrong is withdrawn. On the production's
 * strategies and feedback, over a model of hosts (test/reconfiguration/support).
 *
 *   node bench/rebuild.ts [states=10000] [seed=5] [svg=docs/rebuild-feedback.svg]
 *
 * Exits with 1 where a goal is not met: no difference between both ways, half of the time saved, skips withdrawn within their bound.
 */
import { writeFile } from 'node:fs/promises';
import { failuresToWithdraw, riskLimit } from '#reconfiguration/feedback.ts';
import { rebuildSteps, typicalMs } from '#reconfiguration/steps.ts';
import { bothWays } from '../test/reconfiguration/support/fleet.ts';
import { type LyingRun, lyingRun, wrongSkipsMax } from '../test/reconfiguration/support/lying.ts';
import { seeded } from '../test/slots/support.ts';
import { chart } from './support/chart.ts';

const [states = 10_000, seed = 5] = process.argv.slice(2, 4).map(Number);
const svg = process.argv[4];
const print = (text: string): void => void process.stdout.write(`${text}\n`);
const failures: string[] = [];
const goal = (what: string, met: boolean): void => {
  if (!met) failures.push(what);
};
const hours = (ms: number): string => (ms / 3_600_000).toFixed(0);
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

for (const [name, roughness] of [
  ['as usual', 1],
  ['four times the trouble', 4],
] as const) {
  print(`Both ways over ${states} random host states, ${name} (seed ${seed})`);
  const fleet = bothWays(states, seeded(seed), roughness);
  print(`  ended in another state            ${fleet.different}`);
  print(`  steps skipped                     ${fleet.skips}`);
  print(`  reduced passes that escalated     ${fleet.escalated}`);
  print(`  time, full                        ${hours(fleet.fullMs)} h`);
  print(`  time, reduced                     ${hours(fleet.reducedMs)} h`);
  print(`  saved                             ${percent(fleet.saved)}`);
  print(`  outcomes                          ${JSON.stringify(fleet.outcomes)}`);
  goal(`both ways end in the same state, ${name}`, fleet.different === 0);
  if (roughness === 1) goal('half of the time is saved', fleet.saved >= 0.5);
}
const minutes = (ms: number): string => (ms / 60_000).toFixed(1);
print(`  (minutes a step: ${rebuildSteps.map((step) => `${step} ${minutes(typicalMs[step])}`).join(', ')})`);

const times = { liesFrom: 300, liesUntil: 400, rebuilds: 900 };
const runs: [string, LyingRun][] = [];
for (const step of ['slotLayout', 'diagnostics'] as const) {
  const run = lyingRun(step, times);
  runs.push([step, run]);
  const most = wrongSkipsMax(step, failuresToWithdraw);
  const back = run.skipped.findIndex((skipped, at) => skipped && at >= times.liesUntil);
  print(`\nEvidence for ${step} lies from rebuild ${times.liesFrom} to ${times.liesUntil}`);
  print(`  wrong skips                       ${run.wrongSkips} (bound ${most})`);
  print(`  hosts that served wrongly         ${run.wrongHosts}`);
  print(`  skipped again                     ${back - times.liesUntil} rebuilds after it is true again`);
  goal(`${step} is withdrawn within its bound`, run.wrongSkips <= most && run.wrongSkips > 0);
  goal(`${step} comes back`, back > 0);
}
print(
  '\nMemory that goes bad and that no counter tells of: hosts that serve with it, by how many lost a VM before',
);
for (const feltShare of [0, 0.25, 0.5, 1]) {
  const { wrongHosts, wrongSkips } = lyingRun('diagnostics', { ...times, feltShare });
  const bad = times.liesUntil - times.liesFrom;
  print(
    `  ${percent(feltShare).padStart(7)} felt it                  ${wrongHosts} of ${bad} (skips ${wrongSkips})`,
  );
  goal('what VMs felt is tested', feltShare < 1 || wrongHosts === 0);
}
const plot = chart({
  title: 'Upper bound (95 %) of a skip’s failure probability',
  lines: runs.map(([name, { riskMax }]) => ({ name, values: riskMax })),
  limit: { value: riskLimit, name: `limit ${percent(riskLimit)}` },
  marks: [
    { at: times.liesFrom, name: 'evidence lies' },
    { at: times.liesUntil, name: 'true again' },
  ],
  xName: 'rebuilds of the class',
});
print(`\n${plot.text}`);
if (svg !== undefined) await writeFile(svg, plot.svg);
if (failures.length > 0) {
  print(`\nnot met: ${failures.join('; ')}`);
  process.exitCode = 1;
}
