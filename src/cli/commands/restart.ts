import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '#base/monotonic.ts';
import { askSupervisor } from '#node/control.ts';
import { print, seconds, ticking, UserError } from '../output.ts';
import { openRun } from '../region.ts';
import { refuseSimulated } from '../simulated/directory.ts';

const timeoutMs = 60_000;
const pollMs = 100;

/** `pando restart PROCESS`: answers when the new process is ready. VMs and kernel state go on meanwhile. */
export async function restart(name: string, options: { dir: string }): Promise<void> {
  const { directory, run } = openRun(options);
  refuseSimulated(run, 'it is one process. pando down, then up --simulated.');
  const begun = monotonicMs();
  await askSupervisor(directory.controlSocket, { op: 'restart', name }).catch((error: unknown) => {
    throw new UserError(error instanceof Error ? error.message : String(error));
  });
  let lacks = '';
  const pid = await ticking(
    async () => {
      for (;;) {
        const states = await askSupervisor(directory.controlSocket, { op: 'status' });
        const state = states.find((each) => each.name === name);
        if (state?.state === 'ready') return state.pid;
        lacks = state?.reason ?? '';
        if (monotonicMs() - begun > timeoutMs)
          throw new UserError(
            `${name} is not ready after ${seconds(timeoutMs)}: ${lacks}. pando logs ${name}`,
          );
        await delay(pollMs);
      }
    },
    () => lacks,
  );
  print(`${name} is ready again, pid ${pid} (${seconds(monotonicMs() - begun)})`);
}
