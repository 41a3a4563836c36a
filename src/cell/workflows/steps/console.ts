/** An instance's console outlives its stay on a host: its last part is read before its VM is destroyed there. */
import type { CellServices } from '../../services.ts';
import { keepConsole } from '../../store/consoles.ts';
import type { StepContext } from '../../workflow/definition.ts';

const consoleTimeoutMs = 2_000;

/** What cannot be read is no reason to keep a VM: then that part is missing. */
export const keepConsoleOf = async <I, R>(
  { services, subject, workflowId }: StepContext<I, R, CellServices>,
  hostId: string,
): Promise<void> => {
  const { hosts, db, log } = services;
  try {
    const { output, at } = await hosts.call(
      hostId,
      'vm.console',
      { instanceId: subject },
      { timeoutMs: consoleTimeoutMs },
    );
    if (output === '') return;
    await keepConsole(db, subject, workflowId, { output: Buffer.from(output), at: new Date(at) });
  } catch (error) {
    log.debug({ err: error, instance: subject, host: hostId }, 'the last part of a console was not kept');
  }
};
