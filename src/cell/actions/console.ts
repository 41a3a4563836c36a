/** GetConsoleOutput: the last of what the guest wrote to its console, from its host. */
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { consoleBytesMax } from '../limits.ts';
import type { CellContext } from './context.ts';
import { findInstances } from './find.ts';

const consoleTimeoutMs = 5_000;

export const getConsoleOutput = async (
  input: In<'GetConsoleOutput'>,
  context: CellContext,
): Promise<Out<'GetConsoleOutput'>> => {
  const [row] = await findInstances(context, [input.InstanceId ?? '']);
  endDryRun(input);
  if (row === undefined || row.host_id === null || row.state === 'pending' || row.state === 'terminated')
    return { InstanceId: row?.id ?? '', Timestamp: new Date(context.services.clock.now()), Output: '' };
  try {
    const params = { instanceId: row.id };
    const { output, at } = await context.services.hosts.call(row.host_id, 'vm.console', params, {
      timeoutMs: consoleTimeoutMs,
    });
    const tail = Buffer.from(output).subarray(-consoleBytesMax);
    return { InstanceId: row.id, Timestamp: new Date(at), Output: tail.toString('base64') };
  } catch (error) {
    const { code } = PandoError.from(error);
    if (code === 'HostUnreachable' || code === 'DeadlineExceeded')
      throw new PandoError('Unavailable', 'The console cannot be reached just now. Retry your request.', {
        cause: error,
      });
    throw error;
  }
};
