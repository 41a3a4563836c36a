/** Commands are carried out once: a repeated step is answered from its record, an older epoch is refused. */
import { PandoError } from '#contracts/errors.ts';
import type { CommandKey } from '#contracts/host.ts';
import { stepsRecordedPerWorkflowMax, workflowsRecordedPerVmMax } from './limits.ts';
import type { WorkflowRecord } from './vm-record.ts';

/** Fails with `StaleEpoch` when a newer owner of the same workflow has commanded already. */
export const fence = (key: CommandKey, newestEpoch: number | undefined): void => {
  if (newestEpoch !== undefined && key.epoch < newestEpoch)
    throw new PandoError(
      'StaleEpoch',
      `${key.workflowId} is at epoch ${newestEpoch}; ${key.epoch} commands no more.`,
    );
};

/** The recorded result of this step, if it was done before. Moves the workflow's epoch up. */
export const recall = (workflows: WorkflowRecord[], key: CommandKey): { result: unknown } | undefined => {
  const workflow = workflows.find(({ workflowId }) => workflowId === key.workflowId);
  fence(key, workflow?.epoch);
  if (workflow === undefined) return undefined;
  workflow.epoch = key.epoch;
  const done = workflow.steps.find(({ step }) => step === key.step);
  return done === undefined ? undefined : { result: done.result };
};

/** Records the result of a step; the oldest workflows and steps fall out. Only successes are recorded: a failure is tried again. */
export const record = (workflows: WorkflowRecord[], key: CommandKey, result: unknown): void => {
  const at = workflows.findIndex(({ workflowId }) => workflowId === key.workflowId);
  const [workflow = { workflowId: key.workflowId, epoch: key.epoch, steps: [] }] =
    at < 0 ? [] : workflows.splice(at, 1);
  workflow.epoch = Math.max(workflow.epoch, key.epoch);
  workflow.steps.push({ step: key.step, result });
  if (workflow.steps.length > stepsRecordedPerWorkflowMax) workflow.steps.shift();
  workflows.push(workflow);
  if (workflows.length > workflowsRecordedPerVmMax) workflows.shift();
};
