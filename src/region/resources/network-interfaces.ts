/** Network interfaces: the primary one of each instance. */
import { PandoError } from '#contracts/errors.ts';
import { parseId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { FilterSpec } from '#wire/filters.ts';
import { readPage } from '#wire/pagination.ts';
import type { Handlers, In, Out } from '#wire/types.ts';
import type { ActionContext } from '../context.ts';
import { describe } from '../describe.ts';
import { changeInterface, requireInterface } from '../interface-changes.ts';
import {
  associationOf,
  attachmentView,
  commonView,
  type InterfaceRow,
  privateDnsName,
  publicDnsName,
  readInterfaces,
} from '../interface-view.ts';
import { notFound } from '../not-found.ts';

type NetworkInterface = NonNullable<Out<'DescribeNetworkInterfaces'>['NetworkInterfaces']>[number];

const zoneIdOf = (context: ActionContext, zone: string): string =>
  context.region.config.zones.find((one) => one.name === zone)?.id ?? '';

const association = (context: ActionContext, eni: InterfaceRow) => {
  const shown = associationOf(eni, context.region.network);
  if (shown === undefined) return undefined;
  const ids =
    eni.allocation_id === null
      ? {}
      : { AllocationId: eni.allocation_id, AssociationId: eni.association_id ?? undefined };
  return { ...shown, ...ids };
};

const show = (context: ActionContext, eni: InterfaceRow): NetworkInterface => ({
  ...commonView(eni, context.region.network, association(context, eni)),
  AvailabilityZone: eni.zone,
  AvailabilityZoneId: zoneIdOf(context, eni.zone),
  RequesterManaged: false,
  Attachment: { ...attachmentView(eni), InstanceId: eni.instance_id, InstanceOwnerId: eni.account_id },
  TagSet: eni.tags,
});

const filters = (context: ActionContext): FilterSpec<InterfaceRow> => {
  const { network } = context.region;
  const ownerOfAddress = (eni: InterfaceRow) => associationOf(eni, network)?.IpOwnerId;
  return {
    'addresses.association.owner-id': ownerOfAddress,
    'addresses.association.public-ip': (eni) => eni.public_ip,
    'addresses.primary': () => true,
    'addresses.private-ip-address': (eni) => eni.ip,
    'association.allocation-id': (eni) => eni.allocation_id,
    'association.association-id': (eni) => eni.association_id,
    'association.ip-owner-id': ownerOfAddress,
    'association.public-dns-name': (eni) => publicDnsName(eni, network) || undefined,
    'association.public-ip': (eni) => eni.public_ip,
    'attachment.attach-time': (eni) => eni.created_at,
    'attachment.attachment-id': (eni) => eni.attachment_id,
    'attachment.delete-on-termination': () => true,
    'attachment.device-index': () => 0,
    'attachment.instance-id': (eni) => eni.instance_id,
    'attachment.instance-owner-id': (eni) => eni.account_id,
    'attachment.status': () => 'attached',
    'availability-zone': (eni) => eni.zone,
    'availability-zone-id': (eni) => zoneIdOf(context, eni.zone),
    description: (eni) => eni.description,
    'group-id': (eni) => eni.group_ids,
    'group-name': (eni) => eni.groups.map((group) => group.GroupName),
    'interface-type': () => 'interface',
    'ipv6-addresses.ipv6-address': () => undefined,
    'mac-address': (eni) => eni.mac,
    'network-interface-id': (eni) => eni.eni_id,
    'operator.managed': () => false,
    'operator.principal': () => undefined,
    'owner-id': (eni) => eni.account_id,
    'private-dns-name': (eni) => privateDnsName(eni, network),
    'private-ip-address': (eni) => eni.ip,
    'requester-id': () => undefined,
    'requester-managed': () => false,
    'source-dest-check': (eni) => eni.source_dest_check,
    status: () => 'in-use',
    'subnet-id': (eni) => eni.subnet_id,
    'vpc-id': (eni) => eni.vpc_id,
  };
};

const changeable = ['Description', 'Groups', 'SourceDestCheck'] as const;

/** The one change that is asked for. @throws EC2's errors for none, several, or one that is not built */
const wantedChange = (input: In<'ModifyNetworkInterfaceAttribute'>) => {
  const { NetworkInterfaceId: _id, DryRun: _dry, ...rest } = input;
  const given = Object.keys(rest);
  if (given.length !== 1)
    throw new PandoError('InvalidParameterCombination', 'Exactly one attribute must be specified.');
  if (!changeable.some((name) => name === given[0]))
    throw new PandoError('UnsupportedOperation', `The attribute ${given[0]} cannot be changed.`);
  if (input.SourceDestCheck !== undefined && input.SourceDestCheck.Value === undefined)
    throw new PandoError('MissingParameter', 'The request must contain the parameter SourceDestCheck.Value');
  const description = input.Description === undefined ? undefined : (input.Description.Value ?? '');
  if (description !== undefined && description.length > descriptionCharsMax)
    throw new PandoError(
      'InvalidParameterValue',
      `A description has at most ${descriptionCharsMax} characters.`,
    );
  return { groupIds: input.Groups, sourceDestCheck: input.SourceDestCheck?.Value, description };
};

const descriptionCharsMax = 255;

type Attribute = Out<'DescribeNetworkInterfaceAttribute'>;

const attributeOf = (eni: NetworkInterface, name: string): Attribute => {
  switch (name) {
    case 'description':
      return { Description: { Value: eni.Description } };
    case 'groupSet':
      return { Groups: eni.Groups };
    case 'sourceDestCheck':
      return { SourceDestCheck: { Value: eni.SourceDestCheck } };
    case 'attachment':
      return { Attachment: eni.Attachment };
    default:
      throw new PandoError('InvalidParameterValue', `The attribute '${name.slice(0, 64)}' is invalid.`);
  }
};

/** The rows of one page and the next one's first: where no filter may drop some of them, no more are read. */
const pageOnly = (input: In<'DescribeNetworkInterfaces'>, context: ActionContext) => {
  if (input.Filters?.length || input.NetworkInterfaceIds?.length) return {};
  const scope = `${context.accountId}/DescribeNetworkInterfaces`;
  const { after, items } = readPage(input, { secret: context.region.pageSecret, scope });
  return { after, limit: items + 1 };
};

export const networkInterfaceHandlers: Handlers<ActionContext> = {
  async DescribeNetworkInterfaces(input, context) {
    const named = (input.NetworkInterfaceIds ?? []).map((id) => parseId('networkInterface', id));
    const rows = await readInterfaces(context.region.db, context.accountId, {
      eniIds: named,
      ...pageOnly(input, context),
    });
    const page = describe(rows, input, context, {
      action: 'DescribeNetworkInterfaces',
      idOf: (eni) => eni.eni_id,
      filters: filters(context),
      tagsOf: (eni) => eni.tags,
      ids: { kind: 'networkInterface', parameter: 'networkInterfaceIds', values: input.NetworkInterfaceIds },
    });
    return { NetworkInterfaces: page.items.map((eni) => show(context, eni)), NextToken: page.nextToken };
  },

  async ModifyNetworkInterfaceAttribute(input, context) {
    const wanted = wantedChange(input);
    await changeInterface(context, { eniId: input.NetworkInterfaceId }, wanted, input.DryRun === true);
    return {};
  },

  async DescribeNetworkInterfaceAttribute(input, context) {
    const { eni_id: id } = await requireInterface(context, { eniId: input.NetworkInterfaceId });
    const [row] = await readInterfaces(context.region.db, context.accountId, { eniIds: [id] });
    if (row === undefined) throw notFound('networkInterface', id);
    const attribute = attributeOf(show(context, row), input.Attribute ?? '');
    endDryRun(input);
    return { NetworkInterfaceId: id, ...attribute };
  },
};
