/** Seeds of the region simulator, as many as its time allows, and those that once found a fault. `bench/simulate.ts` runs more. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { mutations, rewriteOf, runOf } from './mutations.ts';
import { regressions } from './regressions.ts';
import { type SimulationResult, simulate } from './simulate.ts';
import { makeTemplate, type Template } from './template.ts';

/** Two cells, in one zone: a launch may go to either. */
const shape = { cells: 2, processorsPerCell: 2, hostsPerCell: 2, routers: 2, accounts: 3 };
const size = { workMs: 4_000, clients: 4, faultEveryMs: 1_000 };
/** Of seeds one in so many has two cells; the others, one, which costs half and has the same faults. */
const twoCellsEvery = 4;
/** Short runs find most: there is more of a beginning and of an end in them. Each has several requests, and nine in ten a fault. */
const short = { workMs: 1_000, clients: 3, faultEveryMs: 400, faultFromMs: 200 };
const seedsMax = 100;
/** A deliberate fault is found by one of so many. */
const triesMax = 12;
/** On a busy machine, whatever its time: each has an end in virtual time, hence a bounded number of events. */
const seedsMin = 2;
/** Of the processor's time, so that a machine that others use as well runs no fewer of them. */
const boxCpuMs = 60_000;
/** Of the clock's: nobody waits for ever where the processor has no time left. */
const boxMs = 100_000;

let template: Template;
let oneCell: Template;
before(async () => {
  template = await makeTemplate(shape);
  oneCell = await makeTemplate({ ...shape, cells: 1 });
});
after(async () => {
  await template.close();
  await oneCell.close();
});

const shown = (
  { seed, broken, tail }: SimulationResult,
  sized = `--cells ${shape.cells} --seconds 4 --every 1`,
): string =>
  `${tail.slice(-30).join('\n')}\n\nseed ${seed}:\n${broken.join('\n')}\nreplay: node bench/simulate.ts --seed ${seed} --replay --hosts 2 ${sized}`;

test('seeds: I1, I3, I4, I5 and I9 hold after every event, and all comes to rest', async (t) => {
  const began = performance.now();
  const cpu = process.cpuUsage();
  const isOver = (): boolean => {
    const { user, system } = process.cpuUsage(cpu);
    return (user + system) / 1000 > boxCpuMs || performance.now() - began > boxMs;
  };
  const faults = new Map<string, number>();
  let ran = 0;
  for (let seed = 1; seed <= seedsMax; seed++) {
    if (ran >= seedsMin && isOver()) break;
    const on = seed % twoCellsEvery === 0 ? template : oneCell;
    const result = await simulate({ template: on, seed, ...short });
    const sized = `--cells ${on.shape.cells} --seconds 1 --clients 3 --every 0.4 --first 0.2`;
    assert.deepEqual(result.broken, [], shown(result, sized));
    for (const [kind, count] of Object.entries(result.faults))
      faults.set(kind, (faults.get(kind) ?? 0) + count);
    ran++;
  }
  t.diagnostic(
    `${ran} of ${seedsMax} seeds, faults: ${[...faults].map(([kind, count]) => `${kind} ${count}`).join(', ')}`,
  );
  assert.ok(ran >= seedsMin);
});

for (const { seed, found, ...run } of regressions)
  test(`seed ${seed} found: ${found}`, async () => {
    const result = await simulate({ template, ...size, ...run, seed });
    assert.deepEqual(result.broken, [], shown(result));
  });

/**
 * The checks themselves are checked: with a rule broken in what stores are asked, they fail. Each change of the code gives a seed another
 * history, so the one that found it last is only the first that is tried.
 */
for (const mutation of mutations) {
  const { name, rule, foundBy } = mutation;
  if (mutation.isStatement !== true || foundBy === undefined) continue;
  test(`a seed finds the broken rule that ${rule} (${name})`, async (t) => {
    const run = { ...size, ...runOf(foundBy), template, stopsWhenBroken: true, rewrite: rewriteOf(mutation) };
    for (let seed = foundBy.seed; seed < foundBy.seed + triesMax; seed++)
      if ((await simulate({ ...run, seed })).broken.length > 0) {
        t.diagnostic(`seed ${seed}`);
        return;
      }
    assert.fail(`none of ${triesMax} seeds from ${foundBy.seed} on finds it`);
  });
}
