/** ModifyInstanceMetadataOptions. */
import { isDeepStrictEqual } from 'node:util';
import { PandoError } from '#contracts/errors.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { In, Out } from '#wire/types.ts';
import { changeInstance } from '../store/instances.ts';
import type { CellContext } from './context.ts';
import { lockOne } from './find.ts';
import { renderMetadataOptions } from './render.ts';
import { readMetadataOptions } from './run-input.ts';

export const modifyInstanceMetadataOptions = async (
  input: In<'ModifyInstanceMetadataOptions'>,
  context: CellContext,
): Promise<Out<'ModifyInstanceMetadataOptions'>> => {
  const row = await context.services.db.transaction(async (tx) => {
    const row = await lockOne(context, tx, input.InstanceId ?? '');
    const metadata = readMetadataOptions(input, row.spec.metadata);
    const changed = { ...row, spec: { ...row.spec, metadata } };
    // A card learns the options when the network is prepared: a running instance keeps what it was started with.
    if (!isDeepStrictEqual(metadata, row.spec.metadata) && row.state !== 'stopped')
      throw new PandoError(
        'UnsupportedOperation',
        `Stop the instance '${row.id}' to change its metadata options.`,
      );
    endDryRun(input);
    await changeInstance(tx, row.id, { spec: changed.spec });
    return changed;
  });
  return { InstanceId: row.id, InstanceMetadataOptions: renderMetadataOptions(row) };
};
