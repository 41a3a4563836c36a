/** What a launch from a template demands: the zone or subnet of the template decide the cell where the request leaves them open. */
import { mergeLaunchTemplateInput } from '#wire/launchTemplate.ts';
import type { WireInput } from '#wire/types.ts';
import { isRecord, outputOf } from '../outcome.ts';
import { backendCall, type Call, listIn, type Parts, textIn } from '../request.ts';

/**
 * The request over what its template says; without a template the request itself. The cell is sent the request alone, and asks the
 * region for the template itself: what a client token stands for is what the client sent.
 */
export const demandedInput = async (parts: Parts, call: Call): Promise<WireInput> => {
  const { LaunchTemplate: template } = call.input;
  if (!isRecord(template)) return call.input;
  const lookup = backendCall(
    call,
    {
      ...optional('LaunchTemplateId', textIn(template, 'LaunchTemplateId')),
      ...optional('LaunchTemplateName', textIn(template, 'LaunchTemplateName')),
      Versions: [textIn(template, 'Version') ?? '$Default'],
    },
    'DescribeLaunchTemplateVersions',
  );
  const outcome = await parts.region.call(lookup, true);
  // A launch that was made already is answered again, also when its template is gone since: its cell knows.
  if (outcome.state === 'refused' && textIn(call.input, 'ClientToken') !== undefined) return call.input;
  const [version] = listIn(outputOf(outcome, 'The region'), 'LaunchTemplateVersions');
  const data: unknown = isRecord(version) ? version.LaunchTemplateData : undefined;
  const { LaunchTemplate: _template, ...request } = call.input;
  return isRecord(data) ? mergeLaunchTemplateInput(data, request) : call.input;
};

const optional = (name: string, value: string | undefined): WireInput =>
  value === undefined ? {} : { [name]: value };
