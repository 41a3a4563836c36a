/** CPU time by kind of process, from /proc: each kind itself, and what it started. */
import { readFileSync } from 'node:fs';
import type { LabProcess } from '../../test/e2e/support/processes.ts';
import { family, statOf } from './processCosts.ts';

/** CPU milliseconds so far, by kind. */
export type KindCosts = Record<string, number>;

const msPerTick = 10;

const isGuestServices = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('guestServices');
  } catch {
    return false;
  }
};

export function cpuByKind(processes: readonly LabProcess[]): KindCosts {
  const costs: KindCosts = {};
  const add = (kind: string, ticks = 0): void => {
    costs[kind] = (costs[kind] ?? 0) + ticks * msPerTick;
  };
  for (const { kind, pid } of processes) {
    // A server of PostgreSQL is its children.
    const isStore = kind === 'postgres';
    const own = statOf(pid);
    add(kind, own?.ownTicks);
    add(isStore ? kind : `${kind}: tools`, own?.waitedTicks);
    for (const child of family([pid])) {
      if (child === pid) continue;
      add(
        isGuestServices(child) ? 'guest services' : isStore ? kind : `${kind}: tools`,
        statOf(child)?.ticks,
      );
    }
  }
  return costs;
}
