/** How what is wrong with a policy or a change is told: a name for programs, a sentence for people. */
import { type ErrorCode, PandoError } from '#contracts/errors.ts';

export type Refusal =
  | 'NoDevices'
  | 'WavesOverlap'
  | 'PercentageOfZero'
  | 'ThresholdOutOfRange'
  | 'ValueOutOfRange'
  | 'UnknownDevice'
  | 'EmptyChange'
  | 'VersionGone'
  | 'NotMeasured'
  | 'NotAnApprover'
  | 'NotAwaitingApproval'
  | 'WrongPhase';

/** `details.refusal` is the name. */
export const refusal = (
  name: Refusal,
  message: string,
  code: ErrorCode = 'InvalidParameterValue',
): PandoError => new PandoError(code, `${name}: ${message}`, { details: { refusal: name } });
