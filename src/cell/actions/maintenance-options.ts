/** ModifyInstanceMaintenanceOptions: whether an instance is recovered when its VM ends by itself. */
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { changeInstance } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { lockOne } from './find.ts';
import { autoRecoveryOf } from './render.ts';
import { readAutoRecovery } from './run-input.ts';

export const modifyInstanceMaintenanceOptions = async (
  input: In<'ModifyInstanceMaintenanceOptions'>,
  context: CellContext,
): Promise<Out<'ModifyInstanceMaintenanceOptions'>> => {
  const { InstanceId, AutoRecovery } = await context.services.db.transaction(async (tx) => {
    const row = await lockOne(context, tx, input.InstanceId ?? '');
    if (input.RebootMigration === 'disabled')
      throw new PandoError(
        'UnsupportedOperation',
        'RebootMigration cannot be disabled: a reboot never migrates.',
      );
    const autoRecovery = readAutoRecovery('AutoRecovery', input.AutoRecovery, autoRecoveryOf(row));
    endDryRun(input);
    // It only takes effect at the next unexpected end: any state will do.
    await changeInstance(tx, row.id, { spec: { ...row.spec, autoRecovery } });
    return { InstanceId: row.id, AutoRecovery: autoRecovery };
  });
  return { InstanceId, AutoRecovery };
};
