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
import { slotsForStart } from '../reservations/matching.ts';
import { lockHosts } from '../store/hosts.ts';
import type { InstanceRow } from '../store/instances.ts';
import { releaseSlots, type Slot, useSlot } from '../store/reservations.ts';
import type { Sql } from '../store/sql.ts';
import type { CellContext } from './context.ts';
import { lockNamed } from './find.ts';
import { choiceOf } from './instance-reservation.ts';

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

const startAll = (input: In<'StartInstances'>, context: CellContext): Promise<readonly Change[]> => {
  let slots: ReadonlyMap<string, Slot> = new Map();
  return changeAll(
    context,
    input,
    async (tx, row) => {
      const begun = await beginStart(context, tx, row);
      const slot = slots.get(row.id);
      if (slot !== undefined) await useSlot(tx, row.id, slot.reservation_id);
      return begun;
    },
    // Instances of one request may lie on several hosts, and slots on others: their rows are locked in one order.
    async (tx, rows) => {
      const stopped = rows.filter((row) => row.state === 'stopped');
      slots = await slotsForStart(tx, stopped.map(startingOf), context.services.clock.now());
      const taken = [...slots.values()];
      await lockHosts(tx, [
        ...rows.flatMap((row) => row.host_id ?? []),
        ...taken.map((slot) => slot.host_id),
      ]);
      await releaseSlots(tx, taken);
    },
  );
};

const startingOf = ({ id, account_id: accountId, host_id: hostId, spec }: InstanceRow) => ({
  ...{ id, accountId, hostId, type: spec.instanceType, zone: spec.zone, choice: choiceOf(spec) },
  tenancy: spec.tenancy ?? ('default' as const),
});

export const startInstances = async (
  input: In<'StartInstances'>,
  context: CellContext,
): Promise<Out<'StartInstances'>> => ({
  StartingInstances: shown(await startAll(input, context)),
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
