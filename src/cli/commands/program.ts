/** `pando program …`: versions of the card's program, kept so that a rollout may name them. */
import { resolve } from 'node:path';
import { codeDigest } from '#node/codeDigest.ts';
import { keepProgram, keptPrograms } from '#node/programs.ts';
import { print, UserError } from '../output.ts';
import { openRun } from '../region.ts';

interface Directory {
  readonly dir: string;
}

export function addProgram(tree: string, options: Directory): void {
  const { directory } = openRun(options);
  const { version, isNew } = keep(directory.programs, resolve(tree));
  print(`${version}${isNew ? '' : ' (kept before)'}`);
  print(
    `pando rollout start --class program --set cardProgram=${version} makes it the cards’ program, in waves.`,
  );
}

const keep = (programs: string, tree: string): ReturnType<typeof keepProgram> => {
  try {
    return keepProgram(programs, tree);
  } catch (error) {
    throw new UserError(error instanceof Error ? error.message : String(error));
  }
};

export function listPrograms(options: Directory): void {
  const { directory } = openRun(options);
  print(`${codeDigest('card')}  the machine’s own: what cards run while the fleet’s settings name no other`);
  for (const version of keptPrograms(directory.programs)) print(version);
}
