/** What is told when a workflow has ended: a metric, and one line of the log with its steps' times. */
import type { Logger } from '#base/log.ts';
import { metrics } from '#base/metrics.ts';
import type { StepTiming, WorkflowRow } from '../store/workflows.ts';

export const tellEnd = (log: Logger, row: WorkflowRow, timings: readonly StepTiming[]): void => {
  const { id, kind, subject, state, error } = row;
  metrics.workflowsEnded.inc({ kind, state });
  const steps = Object.fromEntries(timings.map(({ step, ms }) => [step, ms]));
  const code = error === null ? {} : { code: error.code };
  log.info({ workflow: id, kind, subject, state, steps, ...code }, 'workflow ended');
};
