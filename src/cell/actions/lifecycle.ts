/** Start, stop, reboot, terminate: atomic over the ids of a request. */
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { ec2State } from '../instance-states.ts';
import {
  type Begun,
  beginReboot,
  beginStart,
  beginStop,
  beginTerminate,
  byUser,
  type Change,
} from '../lifecycle.ts';
import { lockHosts } from '../store/hosts.ts';
import type { InstanceRow } from '../store/instances.ts';
import type { Sql } from '../store/sql.ts';
import type { CellContext } from './context.ts';
import { lockNamed } from './find.ts';

type Begin = (tx: Sql, row: InstanceRow) => Promise<Begun>;

const join = (all: readonly Begun[]): Begun => ({
  changes: all.flatMap((one) => one.changes),
  workflows: all.flatMap((one) => one.workflows),
  cancelled: all.flatMap((one) => one.cancelled),
});

/** One transaction for all ids; the engine hears of it after the commit. Changes are answered in the order of the request. */
const changeAll = async (
  context: CellContext,
  input: { readonly InstanceIds: string[] | undefined; readonly DryRun?: boolean | undefined },
  begin: Begin,
  /** Locks what else is needed, before the first change. */
  prepare?: (tx: Sql, rows: readonly InstanceRow[]) => Promise<void>,
): Promise<readonly Change[]> => {
  const ids = input.InstanceIds ?? [];
  if (ids.length === 0) throw new PandoError('InvalidParameterCombination', 'No instances specified');
  context.engine.assertRoom();
  const begun = await context.services.db.transaction(async (tx) => {
    const all: Begun[] = [];
    const rows = await lockNamed(context, tx, ids);
    await prepare?.(tx, rows);
    for (const row of rows) all.push(await begin(tx, row));
    endDryRun(input);
    return join(all);
  });
  context.begun(begun);
  const order = new Map(ids.map((id, at) => [id, at]));
  return [...begun.changes].sort((a, b) => (order.get(a.instanceId) ?? 0) - (order.get(b.instanceId) ?? 0));
};

const shown = (changes: readonly Change[]) =>
  changes.map((change) => ({
    InstanceId: change.instanceId,
    CurrentState: ec2State(change.current),
    PreviousState: ec2State(change.previous),
  }));

export const startInstances = async (
  input: In<'StartInstances'>,
  context: CellContext,
): Promise<Out<'StartInstances'>> => ({
  StartingInstances: shown(
    await changeAll(
      context,
      input,
      (tx, row) => beginStart(context, tx, row),
      // Instances of one request may lie on several hosts: their rows are locked in one order.
      (tx, rows) =>
        lockHosts(
          tx,
          rows.flatMap((row) => row.host_id ?? []),
        ),
    ),
  ),
});

export const stopInstances = async (
  input: In<'StopInstances'>,
  context: CellContext,
): Promise<Out<'StopInstances'>> => {
  if (input.Hibernate) throw new PandoError('UnsupportedOperation', 'Hibernation is not supported.');
  const cause = byUser(context.services.clock.now());
  const forced = input.Force === true || input.SkipOsShutdown === true;
  const begin: Begin = (tx, row) => {
    if (row.spec.disableApiStop)
      throw new PandoError(
        'OperationNotPermitted',
        `The instance '${row.id}' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.`,
      );
    return beginStop(context, tx, row, forced, cause);
  };
  return { StoppingInstances: shown(await changeAll(context, input, begin)) };
};

export const terminateInstances = async (
  input: In<'TerminateInstances'>,
  context: CellContext,
): Promise<Out<'TerminateInstances'>> => {
  const cause = byUser(context.services.clock.now());
  const begin: Begin = (tx, row) => {
    if (row.spec.disableApiTermination && row.state !== 'terminated')
      throw new PandoError(
        'OperationNotPermitted',
        `The instance '${row.id}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.`,
      );
    return beginTerminate(context, tx, row, cause);
  };
  return { TerminatingInstances: shown(await changeAll(context, input, begin)) };
};

export const rebootInstances = async (
  input: In<'RebootInstances'>,
  context: CellContext,
): Promise<Out<'RebootInstances'>> => {
  await changeAll(context, input, (tx, row) => beginReboot(context, tx, row));
  return {};
};
