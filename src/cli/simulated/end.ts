/** Ends a simulated region, whatever is left of it. */
import { rmSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { readRun, writeRun } from '#lab/runRecord.ts';
import { clusterOf, simulatedProcess } from '#lab/simulatedRun.ts';
import type { RunDirectory } from '#node/directory.ts';
import { stopPostgresIn } from '#node/embedded-postgres.ts';
import { endProcess, livingIn } from '#node/processIdentity.ts';

const graceMs = 15_000;

/** Where states lie that are in memory, and how their names begin. */
export const memoryParent = '/dev/shm';
export const memoryPrefix = 'pando-simulated-';

const isInMemory = (state: string): boolean =>
  dirname(state) === memoryParent && basename(state).startsWith(memoryPrefix);

/** Only what `up` made there: a record that somebody wrote must not make us remove his files. */
const isOurState = (directory: RunDirectory, state: string): boolean =>
  state === directory.state(simulatedProcess) || isInMemory(state);

/** Gives back the memory of a state that nobody goes on from. One in a directory stays: it may be somebody's. */
export async function dropFromMemory(state: string): Promise<void> {
  if (!isInMemory(state)) return;
  await stopPostgresIn(clusterOf(state).dataDir);
  rmSync(state, { recursive: true, force: true });
}

/**
 * Ends the process and its PostgreSQL, also one that outlived the process. What the region is made of goes too, unless its state is to
 * persist; with `purge` always. Answers whether the state stayed.
 */
export async function endSimulated(
  directory: RunDirectory,
  { purge }: { readonly purge: boolean },
): Promise<'kept' | 'removed'> {
  const run = readRun(directory);
  const { simulated } = run ?? {};
  const living = livingIn(directory.pidFile(simulatedProcess));
  if (living !== undefined) await endProcess(living, graceMs);
  rmSync(directory.pidFile(simulatedProcess), { force: true });
  if (run === undefined || simulated === undefined) return 'removed';
  await stopPostgresIn(clusterOf(simulated.state).dataDir);
  if (simulated.persist && !purge) {
    const { ports: _, ...rest } = simulated;
    writeRun(directory, { ...run, simulated: rest });
    return 'kept';
  }
  if (isOurState(directory, simulated.state)) rmSync(simulated.state, { recursive: true, force: true });
  rmSync(directory.root, { recursive: true, force: true });
  return 'removed';
}
