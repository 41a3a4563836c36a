import { PandoError } from '#contracts/errors.ts';

/**
 * Ends a request that asked only whether it would succeed. Call it when everything has been checked and
 * nothing has been changed.
 *
 * @throws `DryRunOperation` if `input.DryRun` is true.
 */
export function endDryRun(input: { readonly DryRun?: boolean | undefined }): void {
  if (input.DryRun !== true) return;
  throw new PandoError('DryRunOperation', 'Request would have succeeded, but DryRun flag is set.');
}
