import { askSupervisor } from '#lab/control.ts';
import { print, UserError } from '../output.ts';
import { openRun } from '../region.ts';

/** `pando restart PROCESS`: its VMs and kernel state go on meanwhile. */
export async function restart(name: string, options: { dir: string }): Promise<void> {
  const { directory } = openRun(options);
  const states = await askSupervisor(directory.controlSocket, { op: 'restart', name }).catch(
    (error: unknown) => {
      throw new UserError(`${error instanceof Error ? error.message : error}`);
    },
  );
  const state = states.find((each) => each.name === name);
  print(`${name}: ${state?.state}${state?.pid === undefined ? '' : `, pid ${state.pid}`}`);
}
