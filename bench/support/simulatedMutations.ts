/** Runs the simulator once for each deliberate fault, in a process of its own: a broken module is loaded before all others. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Mutation, mutations } from '../../test/simulation/mutations.ts';

const simulator = fileURLToPath(new URL('../simulate.ts', import.meta.url));
/** The sizes of `test/simulation/seeds.test.ts`. */
const sizes = ['--cells', '3', '--hosts', '2', '--clients', '4'];
/** For a fault of which no seed is written down. */
const seedsMax = 40;

const argumentsOf = ({ name, foundBy }: Mutation): string[] => [
  ...[simulator, '--break', name, ...sizes],
  ...['--seconds', String(foundBy?.seconds ?? 4), '--every', String(foundBy?.every ?? 1)],
  ...(foundBy === undefined
    ? ['--seeds', String(seedsMax)]
    : ['--seeds', '1', '--from', String(foundBy.seed)]),
  ...(foundBy?.faults === undefined ? [] : ['--faults', foundBy.faults.join()]),
];

/** The line that tells which seed found it; undefined: none did. */
const find = (mutation: Mutation): Promise<string | undefined> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, argumentsOf(mutation), { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    child.once('close', () => resolve(/^found by .*$/m.exec(text)?.[0]));
  });

/** Answers the process's exit code: 0 where each fault was found. */
export const runMutations = async (): Promise<number> => {
  let missed = 0;
  for (const mutation of mutations) {
    const began = performance.now();
    const found = await find(mutation);
    if (found === undefined) missed++;
    const { name, rule } = mutation;
    console.log(
      JSON.stringify({
        name,
        rule,
        found: found ?? null,
        realS: Math.round((performance.now() - began) / 1000),
      }),
    );
  }
  console.log(`${mutations.length - missed} of ${mutations.length} found`);
  return missed === 0 ? 0 : 1;
};
