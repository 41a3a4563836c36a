/** The region's own processes, by kind, as its supervisor knows them. */
import { readFileSync } from 'node:fs';
import { askSupervisor } from '#node/control.ts';
import type { RunDirectory } from '#node/directory.ts';
import { processList } from '#node/processSpec.ts';
import { until } from './until.ts';

/** The folder of `src/` that a process runs, or `postgres`. */
export type ProcessKind =
  | 'ca'
  | 'router'
  | 'region'
  | 'cell'
  | 'agent'
  | 'card'
  | 'gateway'
  | 'webhooks'
  | 'postgres';

export interface LabProcess {
  readonly name: string;
  readonly kind: ProcessKind;
  readonly pid: number;
  readonly ready: boolean;
}

const kinds: readonly ProcessKind[] = [
  'ca',
  'router',
  'region',
  'cell',
  'agent',
  'card',
  'gateway',
  'webhooks',
  'postgres',
];

/** Every process that lives now. */
export async function processesOf(directory: RunDirectory): Promise<LabProcess[]> {
  const list = processList.parse(JSON.parse(readFileSync(directory.processList, 'utf8')));
  const states = await askSupervisor(directory.controlSocket, { op: 'status' });
  return list.processes.flatMap((spec): LabProcess[] => {
    const folder = spec.kind === 'postgres' ? 'postgres' : /\/src\/(\w+)\//.exec(spec.entry)?.[1];
    const kind = kinds.find((each) => each === folder);
    const state = states.find((each) => each.name === spec.name);
    if (kind === undefined || state?.pid === undefined) return [];
    return [{ name: spec.name, kind, pid: state.pid, ready: state.state === 'ready' }];
  });
}

/** Ends one process without warning and waits until another one stands in its place and is ready. */
export async function killAndWait(directory: RunDirectory, victim: LabProcess): Promise<void> {
  process.kill(victim.pid, 'SIGKILL');
  await until(`${victim.name} to be back`, async () =>
    (await processesOf(directory)).some(
      (each) => each.name === victim.name && each.pid !== victim.pid && each.ready,
    ),
  );
}
