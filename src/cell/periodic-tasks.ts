/** The cell's periodic tasks: lease, take-over, who was heard, what is behind, what is old. One loop each, never two turns at once. */
import type { Logger } from '#base/log.ts';
import type { Clock } from './clock.ts';

export interface PeriodicTask {
  readonly name: string;
  readonly everyMs: number;
  turn(): Promise<unknown>;
}

/** Runs each task until `stop`; a turn that fails is logged once until it succeeds again, and the next turn comes as always. */
export const startPeriodicTasks = (
  tasks: readonly PeriodicTask[],
  clock: Clock,
  log: Logger,
  stop: AbortSignal,
): void => {
  for (const task of tasks) void runTask(task, clock, log, stop);
};

const runTask = async (task: PeriodicTask, clock: Clock, log: Logger, stop: AbortSignal): Promise<void> => {
  let failing = false;
  while (!stop.aborted) {
    try {
      await task.turn();
      if (failing) log.info({ task: task.name }, 'works again');
      failing = false;
    } catch (error) {
      if (!failing && !stop.aborted) log.warn({ task: task.name, err: error }, 'failed: it is tried again');
      failing = true;
    }
    await clock.sleep(task.everyMs, stop);
  }
};
