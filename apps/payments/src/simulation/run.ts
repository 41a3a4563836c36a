/**
 * Runs the simulated town and writes its figures and plot: `node apps/payments/src/simulation/run.ts [people] [seed]`. Without arguments
 * it makes what is kept in `apps/payments/docs/`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SimulationFigures } from '../contract/operator.ts';
import { defaultPolicy } from '../decision/policy.ts';
import { evaluate, evaluateLiars, mixes, type Pair, pairsOf, thresholds } from './evaluate.ts';
import { plot } from './plot.ts';
import { makeTown } from './town.ts';

const docs = join(import.meta.dirname, '../../docs');
const pairsMax = 300_000;

const rounded = (value: number): number => Number(value.toFixed(5));

export function figuresOf(
  people: number,
  seed: number,
  pairsWanted = pairsMax,
): SimulationFigures & { pairsKept: Pair[] } {
  const pairs = pairsOf(makeTown(people, seed), pairsWanted, seed + 1);
  const rows = Object.entries(mixes).flatMap(([mix, sources]) =>
    [...evaluate(pairs, sources, seed + 2)].map(([thresholdM, tally]) => ({
      mix,
      thresholdM,
      pairs: tally.near + tally.beyond,
      falseAcceptRate: rounded(tally.calledNear / Math.max(1, tally.beyond)),
      falseDeclineRate: rounded(tally.calledFar / Math.max(1, tally.near)),
      unknownRate: rounded(tally.unknown / Math.max(1, tally.near + tally.beyond)),
    })),
  );
  return { people, seed, rows, pairsKept: pairs };
}

function nearFromTable(pairs: readonly Pair[], seed: number): string {
  const lines = [0.8, 0.9, 0.95, 0.99].map((nearFrom) => {
    const cells = thresholds.map((threshold) => {
      const tally = evaluate(pairs, mixes['fused and fused'] ?? ['fused', 'fused'], seed + 2, {
        ...defaultPolicy,
        nearFrom,
      }).get(threshold);
      const accept = (tally?.calledNear ?? 0) / Math.max(1, tally?.beyond ?? 0);
      const unknown = (tally?.unknown ?? 0) / Math.max(1, (tally?.near ?? 0) + (tally?.beyond ?? 0));
      return `${(accept * 100).toFixed(2)} % / ${(unknown * 100).toFixed(0)} %`;
    });
    return `| ${nearFrom} | ${cells.join(' | ')} |`;
  });
  return [
    `| near from | ${thresholds.map((threshold) => `${threshold} m`).join(' | ')} |`,
    `|---|${thresholds.map(() => '---|').join('')}`,
    ...lines,
  ].join('\n');
}

if (import.meta.main) {
  const people = Number(process.argv[2] ?? 10_000);
  const seed = Number(process.argv[3] ?? 20261126);
  const { pairsKept, ...figures } = figuresOf(people, seed);
  mkdirSync(docs, { recursive: true });
  writeFileSync(join(docs, 'simulation.json'), `${JSON.stringify(figures, null, 1)}\n`);
  writeFileSync(join(docs, 'location-accuracy.svg'), plot(figures));
  console.table(figures.rows);
  console.log(nearFromTable(pairsKept, seed));
  console.log('devices that lie about their place and pass:', evaluateLiars(100_000, seed));
}
