/** What a version of a launch template holds: kept as plain JSON, told as the schema has it. */
import { PandoError } from '#contracts/errors.ts';
import { wireLimits } from '#wire/limits.ts';
import { reviveInput, toTransport } from '#wire/transport.ts';
import type { In, Out } from '#wire/types.ts';

export type RequestData = NonNullable<In<'CreateLaunchTemplate'>['LaunchTemplateData']>;
export type ResponseData = NonNullable<
  NonNullable<Out<'CreateLaunchTemplateVersion'>['LaunchTemplateVersion']>['LaunchTemplateData']
>;
export type StoredData = Readonly<Record<string, unknown>>;

const dataBytesMax = 64 * 1024;
const { userDataBytesMax } = wireLimits;
const descriptionCharsMax = 255;

/** As it is kept. What a launch makes of it is looked at by the launch, as at EC2. @throws InvalidParameterValue for what is too large */
export const storeData = (data: RequestData): StoredData => {
  if (Buffer.byteLength(data.UserData ?? '', 'base64') > userDataBytesMax)
    throw new PandoError('InvalidParameterValue', `User data is limited to ${userDataBytesMax} bytes`);
  const stored = toTransport('CreateLaunchTemplateVersion', { LaunchTemplateData: data }).LaunchTemplateData;
  const bytes = Buffer.byteLength(JSON.stringify(stored));
  if (bytes > dataBytesMax)
    throw new PandoError(
      'InvalidParameterValue',
      `The data of a launch template is limited to ${dataBytesMax} bytes, this is ${bytes}.`,
    );
  return stored as StoredData;
};

/** As it is told: the members of a request and of an answer have the same names. */
export const showData = (stored: StoredData): ResponseData =>
  reviveInput('CreateLaunchTemplateVersion', { LaunchTemplateData: stored })
    .LaunchTemplateData as ResponseData;

export const checkDescription = (description: string | undefined): string | null => {
  if (description === undefined) return null;
  if (description.length <= descriptionCharsMax) return description;
  throw new PandoError(
    'InvalidParameterValue',
    `A version's description has ${descriptionCharsMax} characters at most.`,
  );
};
