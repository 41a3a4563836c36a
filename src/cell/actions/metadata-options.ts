/** ModifyInstanceMetadataOptions: of an instance that runs, too. Its answer says `pending`; the options are `applied` once its host has them. */
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { changeInstance, metadataDue } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { lockOne } from './find.ts';
import { checkVisibleTags } from './metadata-tags.ts';
import { renderMetadataOptions } from './render.ts';
import { readMetadataOptions } from './run-input.ts';

export const modifyInstanceMetadataOptions = async (
  input: In<'ModifyInstanceMetadataOptions'>,
  context: CellContext,
): Promise<Out<'ModifyInstanceMetadataOptions'>> => {
  const row = await context.services.db.transaction(async (tx) => {
    const row = await lockOne(context, tx, input.InstanceId ?? '');
    const metadata = readMetadataOptions(input, row.spec.metadata);
    if (row.state === 'terminated' || row.state === 'shutting-down')
      throw new PandoError(
        'IncorrectInstanceState',
        `The instance '${row.id}' is not in a state in which it can be modified.`,
      );
    checkVisibleTags(metadata.instanceTags, row.tags);
    endDryRun(input);
    const change = { spec: { ...row.spec, metadata }, ...metadataDue(row) };
    await changeInstance(tx, row.id, change);
    return { ...row, ...change };
  });
  context.metadataChanged();
  return { InstanceId: row.id, InstanceMetadataOptions: renderMetadataOptions(row) };
};
