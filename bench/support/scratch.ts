/** Temporary files of a bench: all lie in one directory, named by its process. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identify } from '#node/processIdentity.ts';

const prefix = 'pando-bench-';

/**
 * From now on this process's temporary files lie there. They go when it ends, also by Ctrl-C; what one left that was killed goes when the
 * next one begins.
 */
export function useScratch(): void {
  const parent = tmpdir();
  for (const name of readdirSync(parent))
    if (isOfDead(name)) rmSync(join(parent, name), { recursive: true, force: true });
  const directory = join(parent, `${prefix}${process.pid}`);
  mkdirSync(directory, { mode: 0o755 });
  process.env.TMPDIR = directory;
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => process.exit(1));
}

/** Whether the directory is of a process that is gone. A name without a number is not one of these. */
const isOfDead = (name: string): boolean => {
  const pid = /^\d+$/.exec(name.slice(prefix.length))?.[0];
  return name.startsWith(prefix) && pid !== undefined && identify(Number(pid)) === undefined;
};
