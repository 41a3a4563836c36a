/** Tags that a guest reads of the metadata service are names of files there: EC2 takes fewer keys then. */
import { PandoError } from '#contracts/errors.ts';
import type { Tags } from '../store/instances.ts';

const pattern = /^[0-9a-zA-Z\-_+=,.@:]{1,255}$/;
const reserved: ReadonlySet<string> = new Set(['.', '..', '_index']);

/** @throws InvalidParameterValue, in EC2's words */
export const checkVisibleTags = (visible: 'enabled' | 'disabled', tags: Tags): void => {
  if (visible === 'disabled') return;
  const bad = tags.find(({ Key }) => !pattern.test(Key) || reserved.has(Key));
  if (bad !== undefined)
    throw new PandoError(
      'InvalidParameterValue',
      `'${bad.Key.slice(0, 128)}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{1,255}), and must not be a reserved name ('.', '..', '_index')`,
    );
};
