/** RunInstances from a launch template: the request over what the template's version says. */
import { PandoError } from '#contracts/errors.ts';
import { mergeLaunchTemplate } from '#wire/launchTemplate.ts';
import type { ValidTag } from '#wire/tags.ts';
import { reviveInput } from '#wire/transport.ts';
import type { In } from '#wire/types.ts';
import type { CellContext } from './context.ts';

type Input = In<'RunInstances'>;
type Data = NonNullable<In<'CreateLaunchTemplate'>['LaunchTemplateData']>;

export interface TemplatedInput {
  readonly input: Input;
  /** EC2 says on the instance which version it is from: clients read it there. */
  readonly tags: readonly ValidTag[];
}

/** @throws EC2's errors for a template or version that is not there; UnsupportedOperation from a region of the last release */
export const fromTemplate = async (given: Input, context: CellContext): Promise<TemplatedInput> => {
  const { LaunchTemplate: named, ...request } = given;
  if (named === undefined) return { input: given, tags: [] };
  const { launchTemplateId, version, data } = await context.services.region.call('region.launchTemplate', {
    accountId: context.request.accountId,
    id: named.LaunchTemplateId,
    name: named.LaunchTemplateName,
    version: named.Version,
  });
  return {
    input: inOwnZone(mergeLaunchTemplate(dataOf(data), request), context.services.identity.zone),
    tags: [
      { Key: 'aws:ec2launchtemplate:id', Value: launchTemplateId },
      { Key: 'aws:ec2launchtemplate:version', Value: String(version) },
    ],
  };
};

/** A launch that leaves the zone open goes to that of the cell: the router has chosen it for that. */
const inOwnZone = (input: Input, zone: string): Input => {
  const { Placement: placement, SubnetId: subnet, NetworkInterfaces: [nic] = [] } = input;
  const decided = subnet ?? nic?.SubnetId ?? placement?.AvailabilityZone ?? placement?.AvailabilityZoneId;
  return decided === undefined ? { ...input, Placement: { ...placement, AvailabilityZone: zone } } : input;
};

const dataOf = (json: unknown): Data => {
  const { LaunchTemplateData: data } = reviveInput('CreateLaunchTemplateVersion', {
    LaunchTemplateData: json,
  });
  if (data === undefined)
    throw new PandoError('InternalError', 'The region told a launch template without data.');
  return data as Data;
};
