/**
 * A host, or the region, refuses a command because it has heard of a later change of the instance, and yet this workflow owns the
 * instance: the store has lost commits. Then what is there decides. Nothing of it is removed that its owner has not asked to be removed.
 */
import { PandoError } from '#contracts/errors.ts';
import type { VmReport } from '#contracts/host.ts';
import { generationOf } from '../../generation.ts';
import { raiseGeneration } from '../../hosts/generations.ts';
import { stateReasons } from '../../instance-states.ts';
import type { CellServices } from '../../services.ts';
import { findInstance } from '../../store/instances.ts';
import type { StepContext } from '../../workflow/definition.ts';

type Context<I, R> = StepContext<I, R, CellServices>;

/** Whoever has taken the workflow over, or the instance, decides in this one's place. */
const owns = async <I, R>({ services, subject, workflowId, command }: Context<I, R>): Promise<boolean> => {
  const rows = await services.db.query(
    `select 1 from workflows w join instances i on i.workflow_id = w.id where w.id = $1 and w.epoch = $2 and i.id = $3`,
    [workflowId, command.epoch, subject],
  );
  return rows.length > 0;
};

/** @throws `error` itself, unless it is the refusal of one that has heard newer. */
const assertOvertaken = async <I, R>(context: Context<I, R>, error: unknown): Promise<void> => {
  const { code, details } = PandoError.from(error);
  // A processor without a lease is refused by itself: no host has said anything.
  if (code !== 'StaleEpoch' || details?.lease !== undefined || !(await owns(context))) throw error;
};

/** What the host that refused has of the instance. @throws `error` itself, unless the host has heard newer */
export const seenWhereRefused = async <I, R>(
  context: Context<I, R>,
  hostId: string,
  error: unknown,
): Promise<VmReport> => {
  await assertOvertaken(context, error);
  return context.services.hosts.call(hostId, 'vm.describe', { instanceId: context.subject });
};

/** Of an undo: where newer was heard, what this workflow began is a later one's by now, and is left to it. */
export const leftToNewer = async <I, R>(context: Context<I, R>, work: Promise<unknown>): Promise<void> => {
  try {
    await work;
  } catch (error) {
    await assertOvertaken(context, error);
  }
};

/** Whether the end that is under way, or comes next, is what its owner has asked for. */
export const endsForOwner = async <I, R>({ services, subject }: Context<I, R>): Promise<boolean> => {
  const row = await findInstance(services.db, subject);
  const isAsked = row?.state === 'shutting-down' || row?.intent?.kind === 'terminate';
  return isAsked && row?.state_reason?.Code === stateReasons.userShutdown.Code;
};

/**
 * What is asked for now is the latest decision: the row, and with it this workflow's input, is raised above what the host has heard.
 * The command is tried again under that, by whoever takes the parked workflow.
 */
export const raiseAbove = async <I, R>(
  { services, subject, command }: Context<I, R>,
  { generation = 0 }: VmReport,
): Promise<void> => {
  const { db, log } = services;
  // A change of another history may have had the same generation as this one.
  const heard = Math.max(generation, command.generation ?? 0);
  const row = await findInstance(db, subject);
  if (row === undefined || generationOf(row.place_epoch) > heard) return;
  log.error(
    { instance: subject, generation: command.generation, heard },
    'the host has heard of a change that the store does not know: the store has lost commits',
  );
  await raiseGeneration(db, row, heard);
};

/** A step that only goes forward: what it would end is gone already (`gone`), or the command is raised above what the host has heard. */
export const unlessGone = async <I, R, T>(
  context: Context<I, R>,
  hostId: string,
  work: Promise<T>,
  gone: T,
): Promise<T> => {
  try {
    return await work;
  } catch (error) {
    const seen = await seenWhereRefused(context, hostId, error);
    if (seen.state === 'absent') return gone;
    await raiseAbove(context, seen);
    throw error;
  }
};
