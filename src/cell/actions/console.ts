/**
 * GetConsoleOutput: the last of what the guest wrote to its console, from its host and from those that it has left. For an hour after
 * its termination too.
 */

import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { consoleBytesMax } from '../limits.ts';
import { migrationHostOf } from '../store/claims.ts';
import { type KeptRow, keptConsole, sourceOfMigration } from '../store/consoles.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { findInstances } from './find.ts';

const consoleTimeoutMs = 5_000;
/** An instance's host changes once for each move, and its console is kept once: more than one move during one reading is rare already. */
const readTriesMax = 6;

interface Part {
  readonly output: Buffer;
  readonly at: Date;
}

export const getConsoleOutput = async (
  input: In<'GetConsoleOutput'>,
  context: CellContext,
): Promise<Out<'GetConsoleOutput'>> => {
  await rowOf(context, input);
  endDryRun(input);
  for (let tries = 0; tries < readTriesMax; tries++) {
    const { db, clock } = context.services;
    const before = await keptConsole(db, input.InstanceId ?? '');
    // Read after what is kept: a VM's host changes before its part is kept, so what is kept is never of the host that the row names.
    const row = await rowOf(context, input);
    const parts = await partsOf(context, row, before);
    // A part that was kept while hosts were asked may be told by its host as well, and a VM that moved meanwhile by both of its hosts: asked anew.
    if ((await keptConsole(db, row.id))?.workflow_id !== before?.workflow_id) continue;
    if ((await rowOf(context, input)).host_id !== row.host_id) continue;
    const tail = Buffer.concat(parts.map(({ output }) => output)).subarray(-consoleBytesMax);
    return {
      InstanceId: row.id,
      Timestamp: parts.at(-1)?.at ?? new Date(clock.now()),
      Output: tail.toString('base64'),
    };
  }
  throw new PandoError('Unavailable', 'The instance is being moved. Retry your request.');
};

const rowOf = async (context: CellContext, input: In<'GetConsoleOutput'>): Promise<InstanceRow> => {
  const [row] = await findInstances(context, [input.InstanceId ?? '']);
  if (row === undefined) throw new PandoError('InvalidInstanceID.NotFound', 'The instance does not exist');
  return row;
};

/** In the order in which they were written. While it moves, what the source had is its own to tell until it is kept here. */
const partsOf = async (
  context: CellContext,
  row: InstanceRow,
  kept: KeptRow | undefined,
): Promise<Part[]> => {
  const { db } = context.services;
  const { host_id: hostId, workflow_id: workflowId } = row;
  const source = workflowId === null ? undefined : await sourceOfMigration(db, workflowId);
  // The work under way keeps the part of the host that it empties before the VM is gone from there.
  const isKept = workflowId !== null && kept?.workflow_id === workflowId;
  const leaving = source ?? hostId;
  const entering =
    source === undefined ? undefined : source === hostId ? await migrationHostOf(db, row.id) : hostId;
  const [there, here] = await Promise.all([
    isKept ? undefined : outputOf(context, row, leaving),
    outputOf(context, row, entering).catch(() => undefined),
  ]);
  return [kept, there, here].filter((part) => part !== undefined);
};

/** From a host; undefined: its VM is not there, or not any more. */
const outputOf = async (
  { services }: CellContext,
  row: InstanceRow,
  hostId: string | null | undefined,
): Promise<Part | undefined> => {
  if (hostId === null || hostId === undefined) return undefined;
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
