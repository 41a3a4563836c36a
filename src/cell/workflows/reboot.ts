/**
 * Reboot: one command, which owns no instance and changes no state. An instance that is being moved is rebooted where its guest is: on
 * the source while it is copied; in the critical phase the reboot waits, and then finds it where it went.
 */
import { PandoError } from '#contracts/errors.ts';
import { generationOf } from '../generation.ts';
import { rebootLookAgainMs, rebootPatienceMs } from '../limits.ts';
import type { CellServices } from '../services.ts';
import { findInstance, type InstanceRow } from '../store/instances.ts';
import { defineWorkflow, type StepContext } from '../workflow/definition.ts';
import { sleepFor, type Wait } from '../workflow/wait.ts';

export interface RebootInput {
  /** Where it was when it was asked for: for processors of the last release. */
  readonly hostId: string;
  /** Says the generation, which a reboot does not raise. Absent: begun by a processor of the last release. */
  readonly epoch?: number;
  /** Of the instance when it was asked for, ISO 8601: one that was started again since needs no reboot. */
  readonly launchTime?: string;
}

type Context = StepContext<RebootInput, { rebootVm: null }, CellServices>;

/** The instance has moved, is about to, or its VM is being started again: where it is then is in its row soon. */
const passes: ReadonlySet<string> = new Set([
  'IncorrectInstanceState',
  'IncorrectState',
  'NotFound',
  'StaleEpoch',
]);

const isOver = (row: InstanceRow | undefined, { launchTime }: RebootInput): boolean =>
  row?.state !== 'running' || (launchTime !== undefined && row.launch_time.toISOString() !== launchTime);

const rebootVm = async (context: Context): Promise<null | Wait> => {
  const { services, input, command, subject, waitedMs } = context;
  const row = await findInstance(services.db, subject);
  if (row === undefined || row.host_id === null || isOver(row, input)) return null;
  const mayWait = waitedMs < rebootPatienceMs;
  if (row.locked && mayWait) return sleepFor(rebootLookAgainMs);
  const now = { ...command, generation: generationOf(row.place_epoch) };
  try {
    await services.hosts.call(row.host_id, 'vm.reboot', { command: now, instanceId: subject });
    return null;
  } catch (error) {
    if (!mayWait || !passes.has(PandoError.from(error).code)) throw error;
    return sleepFor(rebootLookAgainMs);
  }
};

export const rebootWorkflow = defineWorkflow<RebootInput, { rebootVm: null }, CellServices>({
  kind: 'reboot',
  steps: [
    {
      name: 'rebootVm',
      why: 'the request was acknowledged: it is carried out even if this processor dies now',
      do: rebootVm,
      undo: { none: 'a reset guest cannot be un-reset' },
    },
  ],
});
