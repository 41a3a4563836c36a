/**
 * GetConsoleOutput: the last of what the guest wrote to its console, from its host and from those that it has left. For an hour after
 * its termination too.
 */

import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { consoleBytesMax } from '../limits.ts';
import { migrationHostOf } from '../store/claims.ts';
import { keptConsole, sourceOfMigration } from '../store/consoles.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { findInstances } from './find.ts';

const consoleTimeoutMs = 5_000;

interface Part {
  readonly output: Buffer;
  readonly at: Date;
}

export const getConsoleOutput = async (
  input: In<'GetConsoleOutput'>,
  context: CellContext,
): Promise<Out<'GetConsoleOutput'>> => {
  const [row] = await findInstances(context, [input.InstanceId ?? '']);
  endDryRun(input);
  if (row === undefined) throw new PandoError('InvalidInstanceID.NotFound', 'The instance does not exist');
  const parts = await partsOf(context, row);
  const tail = Buffer.concat(parts.map(({ output }) => output)).subarray(-consoleBytesMax);
  const at = parts.at(-1)?.at ?? new Date(context.services.clock.now());
  return { InstanceId: row.id, Timestamp: at, Output: tail.toString('base64') };
};

/** In the order in which they were written. While it moves, what the source had is its own to tell until it is kept here. */
const partsOf = async (context: CellContext, row: InstanceRow): Promise<Part[]> => {
  const { db } = context.services;
  const { host_id: hostId, workflow_id: workflowId } = row;
  const otherId = workflowId === null ? undefined : await migrationHostOf(db, row.id);
  const source =
    otherId === undefined || workflowId === null ? undefined : await sourceOfMigration(db, workflowId);
  if (source === undefined) {
    const now = hostId === null ? undefined : await outputOf(context, row, hostId);
    // Read after its host was asked: what a VM wrote is kept before its host forgets it.
    const kept = await keptConsole(db, row.id);
    return [kept, now].filter((part) => part !== undefined);
  }
  const [there, here] = await Promise.all([
    outputOf(context, row, source),
    outputOf(context, row, source === hostId ? (otherId ?? '') : (hostId ?? '')).catch(() => undefined),
  ]);
  const kept = await keptConsole(db, row.id);
  return [kept, kept?.workflow_id === workflowId ? undefined : there, here].filter(
    (part) => part !== undefined,
  );
};

/** From a host; undefined: its VM is not there, or not any more. */
const outputOf = async (
  { services }: CellContext,
  row: InstanceRow,
  hostId: string,
): Promise<Part | undefined> => {
  if (row.state === 'pending' || row.state === 'terminated') return undefined;
  try {
    const { output, at } = await services.hosts.call(
      hostId,
      'vm.console',
      { instanceId: row.id },
      { timeoutMs: consoleTimeoutMs },
    );
    return { output: Buffer.from(output), at: new Date(at) };
  } catch (error) {
    const { code } = PandoError.from(error);
    if (code === 'NotFound') return undefined;
    if (code === 'HostUnreachable' || code === 'DeadlineExceeded')
      throw new PandoError('Unavailable', 'The console cannot be reached just now. Retry your request.', {
        cause: error,
      });
    throw error;
  }
};
