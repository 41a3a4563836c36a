/**
 * Collections that this region has nothing of: an empty answer, with filters, pages and unknown ids as EC2 has them. Codes are those of
 * EC2's list of error codes, and those that Terraform's provider takes for "gone".
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { absentHandlers } from '#region/absent/index.ts';
import { routeOf } from '#router/actions.ts';
import { operationOf } from '#wire/actions.ts';
import type { KnownAction, WireInput } from '#wire/types.ts';
import { documentedFilters } from '../router/documentedFilters.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

const actions = Object.keys(absentHandlers) as KnownAction[];

/** Input member, an id as EC2 makes them, its code; then an id of another kind and its code. */
const unknown: Readonly<Record<string, readonly [string, string, string, string?]>> = {
  DescribeNatGateways: [
    'NatGatewayIds',
    'nat-0123456789abcdef0',
    'NatGatewayNotFound',
    'NatGatewayMalformed',
  ],
  DescribeEgressOnlyInternetGateways: [
    'EgressOnlyInternetGatewayIds',
    'eigw-0123456789abcdef0',
    'InvalidEgressOnlyInternetGatewayId.NotFound',
    'InvalidEgressOnlyInternetGatewayId.Malformed',
  ],
  DescribeVpcEndpoints: [
    'VpcEndpointIds',
    'vpce-12345678',
    'InvalidVpcEndpointId.NotFound',
    'InvalidVpcEndpointId.Malformed',
  ],
  DescribePrefixLists: [
    'PrefixListIds',
    'pl-12345678',
    'InvalidPrefixListID.NotFound',
    'InvalidPrefixListId.Malformed',
  ],
  DescribeManagedPrefixLists: [
    'PrefixListIds',
    'pl-0123456789abcdef0',
    'InvalidPrefixListID.NotFound',
    'InvalidPrefixListId.Malformed',
  ],
  DescribeFlowLogs: [
    'FlowLogIds',
    'fl-0123456789abcdef0',
    'InvalidFlowLogId.NotFound',
    'InvalidFlowLogId.NotFound',
  ],
  DescribeVpcPeeringConnections: [
    'VpcPeeringConnectionIds',
    'pcx-0123456789abcdef0',
    'InvalidVpcPeeringConnectionID.NotFound',
    'InvalidVpcPeeringConnectionID.Malformed',
  ],
  DescribeSpotInstanceRequests: [
    'SpotInstanceRequestIds',
    'sir-abcd1234',
    'InvalidSpotInstanceRequestID.NotFound',
    'InvalidSpotInstanceRequestID.Malformed',
  ],
  DescribeSnapshots: [
    'SnapshotIds',
    'snap-12345678',
    'InvalidSnapshot.NotFound',
    'InvalidSnapshotID.Malformed',
  ],
  DescribeSnapshotAttribute: [
    'SnapshotId',
    'snap-0123456789abcdef0',
    'InvalidSnapshot.NotFound',
    'InvalidSnapshotID.Malformed',
  ],
  DescribeCarrierGateways: [
    'CarrierGatewayIds',
    'cagw-0123456789abcdef0',
    'InvalidCarrierGatewayID.NotFound',
    'InvalidCarrierGatewayID.Malformed',
  ],
  DescribeTransitGateways: [
    'TransitGatewayIds',
    'tgw-0123456789abcdef0',
    'InvalidTransitGatewayID.NotFound',
    'InvalidTransitGatewayID.Malformed',
  ],
  DescribeVpnGateways: [
    'VpnGatewayIds',
    'vgw-12345678',
    'InvalidVpnGatewayID.NotFound',
    'InvalidVpnGatewayID.Malformed',
  ],
  DescribeVpnConnections: [
    'VpnConnectionIds',
    'vpn-12345678',
    'InvalidVpnConnectionID.NotFound',
    'InvalidVpnConnectionID.Malformed',
  ],
  DescribeCustomerGateways: [
    'CustomerGatewayIds',
    'cgw-12345678',
    'InvalidCustomerGatewayID.NotFound',
    'InvalidCustomerGatewayID.Malformed',
  ],
  DescribeReservedInstances: [
    'ReservedInstancesIds',
    'e5a2ff3b-7d14-494f-90af-0b5d0EXAMPLE',
    'InvalidReservedInstancesId',
    'InvalidReservedInstancesId',
  ],
  DescribeVolumesModifications: [
    'VolumeIds',
    'vol-0123456789abcdef0',
    'InvalidVolumeModification.NotFound',
    'InvalidVolumeID.Malformed',
  ],
};

describe('collections that are empty', () => {
  let region: TestRegion;
  let client: Client;
  before(async () => {
    region = await startTestRegion();
    client = await region.account();
  });
  after(() => region.stop());

  const ask = (action: KnownAction, input: WireInput): Promise<Record<string, unknown>> =>
    client.call(action, input as never);
  const inputOf = (action: KnownAction) => operationOf(action).input;
  /** Some actions cannot be asked without an id, and every id is unknown. */
  const askable = actions.filter((action) => inputOf(action)?.requiredCount === 0);

  it('are routed to the region, and answer with a member of EC2’s schema', async () => {
    assert.ok(askable.length > 35);
    for (const action of actions) assert.deepEqual(routeOf(action), { to: 'region' }, action);
    for (const action of askable) {
      const answer = await ask(action, {});
      assert.notDeepEqual(answer, {}, action);
      for (const [name, list] of Object.entries(answer)) {
        assert.equal(operationOf(action).output?.byName.get(name)?.shape.kind, 'list', `${action} ${name}`);
        assert.deepEqual(list, [], action);
      }
    }
  });

  it('take every filter that EC2 documents, and refuse others', async () => {
    for (const action of askable) {
      const input = inputOf(action);
      const member = ['Filters', 'Filter'].find((name) => input?.byName.has(name));
      if (member === undefined) continue;
      for (const Name of documentedFilters(action))
        await ask(action, { [member]: [{ Name, Values: ['x'] }] });
      for (const Name of ['no-such-filter', 'tag:', '__proto__', 'constructor', ''])
        await assert.rejects(
          ask(action, { [member]: [{ Name, Values: ['x'] }] }),
          { code: 'InvalidParameterValue' },
          `${action} ${Name}`,
        );
    }
  });

  it('take pages, and refuse tokens that were never given', async () => {
    for (const action of askable) {
      const input = inputOf(action);
      if (input?.byName.has('MaxResults')) await ask(action, { MaxResults: 100 });
      if (input?.byName.has('NextToken'))
        await assert.rejects(
          ask(action, { NextToken: 'bm8.bm8' }),
          { code: 'InvalidParameterValue' },
          action,
        );
    }
  });

  it('answer a dry run as every action does', async () => {
    for (const action of askable.filter((one) => inputOf(one)?.byName.has('DryRun')))
      await assert.rejects(ask(action, { DryRun: true }), { code: 'DryRunOperation' }, action);
  });

  it('say of each id that it does not exist, or is none', async () => {
    for (const action of actions) {
      const input = inputOf(action);
      const [member, id, notFound, malformed] = unknown[action] ?? [];
      if (member === undefined) continue;
      const isList = input?.byName.get(member)?.shape.kind === 'list';
      const other = input?.byName.has('Attribute') ? { Attribute: 'productCodes' } : {};
      const of = (text: unknown) => ask(action, { ...other, [member]: isList ? [text] : text });
      await assert.rejects(of(id), { code: notFound, message: new RegExp(`'${id}' does not exist`) }, action);
      await assert.rejects(of('i-0123456789abcdef0'), { code: malformed }, action);
    }
  });

  it('know ids wherever the schema has them: none of them is taken and ignored', async () => {
    for (const action of actions) {
      const input = inputOf(action);
      const lists =
        input?.members.filter(({ name }) => /(Ids|ServiceNames|IdSet|PublicIps)$/.test(name)) ?? [];
      const asked = lists.filter(({ name }) => !/^(OwnerIds|RestorableByUserIds)$/.test(name));
      for (const { name } of asked)
        await assert.rejects(
          ask(action, { [name]: ['nonsense'] }),
          { name: 'PandoError' },
          `${action} ${name}`,
        );
    }
  });
});
