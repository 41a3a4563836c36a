/** Where a simulated region keeps its files, and where what it shares with later ones lies: below the home of whoever runs it. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { cacheDirectory } from '#node/directory.ts';
import { UserError } from '../output.ts';

const isRoot = (): boolean => process.getuid?.() === 0;

/** The directory of a simulated region where none is named. */
export const simulatedDirectory = (): string =>
  join(resolve(process.env.XDG_STATE_HOME ?? join(homedir(), '.local', 'state')), 'pando-simulated');

/** Prepared stores and compiled code. */
export const simulatedCache = (): string => {
  if (process.env.PANDO_CACHE !== undefined || isRoot()) return cacheDirectory;
  return join(resolve(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')), 'pando');
};

/**
 * The directory of a command that names none: the machine's real region where there is one, else the user's simulated one where there is
 * one.
 */
export const directoryDefault = (real: string): string => {
  const simulated = simulatedDirectory();
  const isThere = (root: string): boolean => existsSync(join(root, 'run.json'));
  return !isThere(real) && isThere(simulated) ? simulated : real;
};

/** @throws UserError for what a simulated region has not */
export const refuseSimulated = (run: { readonly simulated?: unknown }, why: string): void => {
  if (run.simulated !== undefined) throw new UserError(`This region is simulated: ${why}`);
};
