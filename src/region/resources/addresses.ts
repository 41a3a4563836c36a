/** Elastic addresses. */
import { PandoError } from '#contracts/errors.ts';
import { newId, parseId } from '#contracts/ids.ts';
import { endDryRun } from '#wire/dryRun.ts';
import type { FilterSpec } from '#wire/filters.ts';
import { applyFilters } from '#wire/filters.ts';
import type { Handlers, In, Out } from '#wire/types.ts';
import { change, changeVpcs, lockAccount } from '../change.ts';
import type { ActionContext } from '../context.ts';
import { describe, withTags } from '../describe.ts';
import { notFound } from '../not-found.ts';
import {
  freeAddress,
  type PublicAddress,
  restoreAutomatic,
  setInterface,
  takeAddress,
  unmapInterface,
} from '../public-addresses.ts';
import { deleteTagsOf, insertTags, type Tagged, tagsOnCreate } from '../resource-tags.ts';
import type { RegionTransaction, Row } from '../schema.ts';

type Address = NonNullable<Out<'DescribeAddresses'>['Addresses']>[number];
type AddressRow = PublicAddress & Tagged & { instance_id: string | null; private_ip: string | null };

const show = (context: ActionContext, address: AddressRow): Address => ({
  PublicIp: address.ip,
  AllocationId: address.allocation_id ?? undefined,
  Domain: 'vpc',
  PublicIpv4Pool: 'amazon',
  NetworkBorderGroup: context.region.config.regionName,
  ...(address.eni_id === null
    ? {}
    : {
        AssociationId: address.association_id ?? undefined,
        NetworkInterfaceId: address.eni_id,
        NetworkInterfaceOwnerId: context.accountId,
        PrivateIpAddress: address.private_ip ?? undefined,
        InstanceId: address.instance_id ?? undefined,
      }),
  Tags: address.tags,
});

const filters = (context: ActionContext): FilterSpec<AddressRow> => ({
  'allocation-id': (address) => address.allocation_id,
  'association-id': (address) => address.association_id,
  domain: () => 'vpc',
  'instance-id': (address) => address.instance_id,
  'network-border-group': () => context.region.config.regionName,
  'network-interface-id': (address) => address.eni_id,
  'network-interface-owner-id': (address) => (address.eni_id === null ? undefined : context.accountId),
  'private-ip-address': (address) => address.private_ip,
  'public-ip': (address) => address.ip,
});

const rowsOf = (context: ActionContext) => {
  const rows = context.region.db
    .selectFrom('public_address')
    .leftJoin('eni', 'eni.eni_id', 'public_address.eni_id')
    .selectAll('public_address')
    .select(['eni.instance_id', 'eni.ip as private_ip'])
    .where('public_address.account_id', '=', context.accountId)
    .where('public_address.allocation_id', 'is not', null)
    .orderBy('number')
    .execute();
  return withTags(context, 'elastic-ip', rows, (row) => row.allocation_id ?? row.ip);
};

/** How an API caller names an address: two ways, exactly one of which must be used. */
interface AddressName {
  readonly AllocationId?: string | undefined;
  readonly PublicIp?: string | undefined;
}

/** The caller's elastic address, as it is now. With `lock`, it stays so until the transaction ends. */
const requireAddress = async (
  db: RegionTransaction | ActionContext['region']['db'],
  context: ActionContext,
  name: AddressName,
  lock = false,
): Promise<PublicAddress> => {
  const { AllocationId: allocationId, PublicIp: ip } = name;
  if (allocationId === undefined && ip === undefined)
    throw new PandoError('MissingParameter', 'Either publicIp or allocationId must be specified');
  if (allocationId !== undefined && ip !== undefined)
    throw new PandoError(
      'InvalidParameterCombination',
      'You may specify public IP or allocation id, but not both in the same call',
    );
  const query = db
    .selectFrom('public_address')
    .selectAll()
    .where('account_id', '=', context.accountId)
    .where('allocation_id', 'is not', null)
    .where((row) =>
      allocationId === undefined
        ? row('ip', '=', ip ?? '')
        : row('allocation_id', '=', parseId('allocation', allocationId)),
    );
  const address = await (lock ? query.forUpdate() : query).executeTakeFirst();
  if (address !== undefined) return address;
  if (allocationId !== undefined)
    throw new PandoError(
      'InvalidAllocationID.NotFound',
      `The allocation ID '${allocationId}' does not exist`,
    );
  throw new PandoError('InvalidAddress.NotFound', `Address '${ip ?? ''}' not found.`);
};

/** The caller's interface that an association is for. */
const requireInterface = async (
  context: ActionContext,
  input: In<'AssociateAddress'>,
): Promise<Row<'eni'>> => {
  const { InstanceId: instanceId, NetworkInterfaceId: eniId } = input;
  if (instanceId === undefined && eniId === undefined)
    throw new PandoError('MissingParameter', 'Either instance ID or network interface id must be specified');
  const eni = await context.region.db
    .selectFrom('eni')
    .selectAll()
    .where('account_id', '=', context.accountId)
    .where((row) =>
      eniId === undefined
        ? row('instance_id', '=', parseId('instance', instanceId ?? ''))
        : row('eni_id', '=', parseId('networkInterface', eniId)),
    )
    .executeTakeFirst();
  if (eni === undefined)
    throw eniId === undefined ? notFound('instance', instanceId ?? '') : notFound('networkInterface', eniId);
  if (instanceId !== undefined && eni.instance_id !== instanceId)
    throw new PandoError(
      'InvalidParameterCombination',
      `The interface ${eni.eni_id} is not of the instance ${instanceId}`,
    );
  if (input.PrivateIpAddress !== undefined && input.PrivateIpAddress !== eni.ip)
    throw new PandoError(
      'InvalidParameterValue',
      `The address ${input.PrivateIpAddress} is not of the interface ${eni.eni_id}`,
    );
  return eni;
};

const vpcOf = async (context: ActionContext, eniId: string | null): Promise<readonly string[]> => {
  if (eniId === null) return [];
  const row = await context.region.db
    .selectFrom('eni')
    .select('vpc_id')
    .where('eni_id', '=', eniId)
    .executeTakeFirst();
  return row === undefined ? [] : [row.vpc_id];
};

/** The address moved to an interface of a VPC that is not locked, between our look and our lock. */
const movedMeanwhile = (): PandoError =>
  new PandoError('Conflict', 'The address was changed at the same time. Retry your request.');

const associate = async (
  tx: RegionTransaction,
  context: ActionContext,
  input: In<'AssociateAddress'>,
  eni: Row<'eni'>,
  seen: PublicAddress,
): Promise<string> => {
  const address = await requireAddress(tx, context, input, true);
  if (address.eni_id === eni.eni_id && address.association_id !== null) return address.association_id;
  if (address.eni_id !== null && input.AllowReassociation === false)
    throw new PandoError(
      'Resource.AlreadyAssociated',
      `resource ${address.allocation_id} is already associated with associate-id ${address.association_id}`,
    );
  if (address.eni_id !== null && address.eni_id !== seen.eni_id) throw movedMeanwhile();
  const live = await tx
    .selectFrom('eni')
    .select('eni_id')
    .where('eni_id', '=', eni.eni_id)
    .forShare()
    .executeTakeFirst();
  if (live === undefined) throw notFound('networkInterface', eni.eni_id);
  const gateway = await tx
    .selectFrom('internet_gateway')
    .select('vpc_id')
    .where('vpc_id', '=', eni.vpc_id)
    .executeTakeFirst();
  if (gateway === undefined)
    throw new PandoError(
      'Gateway.NotAttached',
      `Network ${eni.vpc_id} is not attached to any internet gateway`,
    );
  await unmapInterface(tx, context.region, eni.eni_id);
  const associationId = newId('addressAssociation');
  await setInterface(tx, address.ip, { eniId: eni.eni_id, associationId });
  if (address.eni_id !== null) await restoreAutomatic(tx, context.region, address.eni_id);
  return associationId;
};

export const addressHandlers: Handlers<ActionContext> = {
  async AllocateAddress(input, context) {
    const { regionName, limits } = context.region.config;
    const group = input.NetworkBorderGroup ?? regionName;
    if (group !== regionName)
      throw new PandoError(
        'InvalidParameterValue',
        `The network border group '${group.slice(0, 64)}' is not available.`,
      );
    if (input.PublicIpv4Pool !== undefined && input.PublicIpv4Pool !== 'amazon')
      throw new PandoError(
        'InvalidParameterValue',
        `The pool '${input.PublicIpv4Pool.slice(0, 64)}' does not exist.`,
      );
    const tags = tagsOnCreate(input.TagSpecifications, 'elastic-ip');
    const allocationId = newId('allocation');
    const address = await change(context, input, async (tx) => {
      await lockAccount(tx, context.accountId);
      const own = await tx
        .selectFrom('public_address')
        .select('ip')
        .where('account_id', '=', context.accountId)
        .where('allocation_id', 'is not', null)
        .execute();
      if (own.length >= limits.addressesPerAccountMax)
        throw new PandoError('AddressLimitExceeded', 'The maximum number of addresses has been reached.');
      const taken = await takeAddress(tx, context.accountId, allocationId, input.Address);
      if (taken === undefined && input.Address !== undefined)
        throw new PandoError('InvalidAddress.NotFound', `The address '${input.Address}' is not available.`);
      if (taken === undefined)
        throw new PandoError(
          'AddressLimitExceeded',
          'The region has no free public address. Release one, or try again later.',
        );
      await insertTags(tx, context.accountId, 'elastic-ip', allocationId, tags);
      return taken;
    });
    return {
      PublicIp: address.ip,
      AllocationId: allocationId,
      PublicIpv4Pool: 'amazon',
      NetworkBorderGroup: regionName,
      Domain: 'vpc',
    };
  },

  async AssociateAddress(input, context) {
    const [eni, seen] = await Promise.all([
      requireInterface(context, input),
      requireAddress(context.region.db, context, input),
    ]);
    const vpcIds = [eni.vpc_id, ...(await vpcOf(context, seen.eni_id))];
    const id = await changeVpcs(context, input, vpcIds, (tx) => associate(tx, context, input, eni, seen));
    return { AssociationId: id };
  },

  async DisassociateAddress(input, context) {
    const { AssociationId: associationId, PublicIp: ip } = input;
    if ((associationId === undefined) === (ip === undefined))
      throw new PandoError('MissingParameter', 'Either publicIp or associationId must be specified');
    const seen = await context.region.db
      .selectFrom('public_address')
      .selectAll()
      .where('account_id', '=', context.accountId)
      .where('allocation_id', 'is not', null)
      .where((row) =>
        associationId === undefined
          ? row('ip', '=', ip ?? '')
          : row('association_id', '=', parseId('addressAssociation', associationId)),
      )
      .executeTakeFirst();
    if (seen === undefined && ip !== undefined)
      throw new PandoError('InvalidAddress.NotFound', `Address '${ip}' not found.`);
    if (seen?.eni_id == null)
      throw new PandoError(
        'InvalidAssociationID.NotFound',
        `The association ID '${associationId ?? ip}' does not exist`,
      );
    await changeVpcs(context, input, await vpcOf(context, seen.eni_id), async (tx) => {
      const now = await requireAddress(tx, context, { PublicIp: seen.ip }, true);
      if (now.association_id !== seen.association_id)
        throw new PandoError(
          'InvalidAssociationID.NotFound',
          `The association ID '${seen.association_id}' does not exist`,
        );
      await setInterface(tx, seen.ip, null);
      if (now.eni_id !== null) await restoreAutomatic(tx, context.region, now.eni_id);
    });
    return {};
  },

  async ReleaseAddress(input, context) {
    await change(context, input, async (tx) => {
      const address = await requireAddress(tx, context, input, true);
      if (address.eni_id !== null)
        throw new PandoError('InvalidIPAddress.InUse', `Address ${address.ip} is in use.`);
      await freeAddress(tx, context.region, address.ip);
      if (address.allocation_id !== null) await deleteTagsOf(tx, address.allocation_id);
    });
    return {};
  },

  async DescribeAddresses(input, context) {
    const rows = await rowsOf(context);
    const asked = selectAddresses(rows, input.PublicIps, input.AllocationIds);
    const items = applyFilters(asked, input.Filters, filters(context), (address) => address.tags);
    endDryRun(input);
    return { Addresses: items.map((address) => show(context, address)) };
  },

  async DescribeAddressesAttribute(input, context) {
    if (input.Attribute !== undefined && input.Attribute !== 'domain-name')
      throw new PandoError('InvalidParameterValue', `The attribute '${input.Attribute}' is invalid.`);
    const page = describe(await rowsOf(context), input, context, {
      action: 'DescribeAddressesAttribute',
      idOf: (address) => address.allocation_id ?? address.ip,
      filters: {},
      ids: { kind: 'allocation', parameter: 'allocationIds', values: input.AllocationIds },
    });
    const Addresses = page.items.map((address) => ({
      PublicIp: address.ip,
      AllocationId: address.allocation_id ?? undefined,
    }));
    return { Addresses, NextToken: page.nextToken };
  },
};

const selectAddresses = (
  rows: readonly AddressRow[],
  ips: readonly string[] | undefined,
  ids: readonly string[] | undefined,
): readonly AddressRow[] => {
  const byIp = ips?.map((ip) => {
    const found = rows.find((row) => row.ip === ip);
    if (found === undefined) throw new PandoError('InvalidAddress.NotFound', `Address '${ip}' not found.`);
    return found;
  });
  const byId = ids?.map((id) => {
    const found = rows.find((row) => row.allocation_id === parseId('allocation', id));
    if (found === undefined)
      throw new PandoError('InvalidAllocationID.NotFound', `The allocation ID '${id}' does not exist`);
    return found;
  });
  return byIp?.length || byId?.length ? [...new Set([...(byIp ?? []), ...(byId ?? [])])] : rows;
};
