/** Instance profiles as requests name them. */
import { PandoError } from '#contracts/errors.ts';
import type { ProfileReference } from '#contracts/profiles.ts';

/** Of an ARN, whose path and name IAM bounds far below. */
const referenceCharsMax = 2_048;
const shownCharsMax = 128;

/** By name or by ARN; undefined: none is named. @throws InvalidParameterCombination, InvalidParameterValue */
export const readProfile = (
  input: { readonly Arn?: string | undefined; readonly Name?: string | undefined } | undefined,
): ProfileReference | undefined => {
  const { Arn: arn, Name: name } = input ?? {};
  if (!arn && !name) return undefined;
  if (arn && name)
    throw new PandoError(
      'InvalidParameterCombination',
      "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'",
    );
  const given = name || arn || '';
  if (given.length > referenceCharsMax)
    throw new PandoError(
      'InvalidParameterValue',
      `Value (${given.slice(0, shownCharsMax)}) for parameter iamInstanceProfile.${name ? 'name' : 'arn'} is invalid. Invalid IAM Instance Profile ${name ? 'name' : 'ARN'}`,
    );
  return name ? { name } : { arn: given };
};
