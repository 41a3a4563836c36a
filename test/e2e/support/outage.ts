/** Processes that die together and stay dead for a while: their supervisor stands still meanwhile. */
import { readdirSync, readFileSync } from 'node:fs';
import type { RunDirectory } from '#node/directory.ts';
import { livingIn } from '#node/processIdentity.ts';
import { type LabProcess, processesOf } from './processes.ts';

export interface Outage {
  /** Lets the supervisor go on, which starts what is dead. Repeatable. */
  end(): void;
}

const parentOf = (pid: string): number => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0;
  }
};

/** Its own children too: a PostgreSQL is many processes. */
const treeOf = (pid: number): number[] => {
  const children = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && parentOf(name) === pid);
  return [pid, ...children.flatMap((child) => treeOf(Number(child)))];
};

const kill = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal);
  } catch {
    // Dead already: it was the child of one that has just died.
  }
};

/** Ends all that match with SIGKILL. Throws where none does. */
export async function outageOf(
  directory: RunDirectory,
  isHit: (process: LabProcess) => boolean,
): Promise<Outage> {
  const hit = (await processesOf(directory)).filter(isHit);
  const supervisor = livingIn(directory.pidFile('supervisor'));
  if (hit.length === 0 || supervisor === undefined) throw new Error('there is nothing to end');
  const victims = hit.flatMap(({ pid }) => treeOf(pid));
  kill(supervisor.pid, 'SIGSTOP');
  for (const pid of victims) kill(pid, 'SIGKILL');
  return { end: () => kill(supervisor.pid, 'SIGCONT') };
}
