/** Security groups and their rules. */
import assert from 'node:assert/strict';
import type { IpPermission } from '@aws-sdk/client-ec2';
import fc from 'fast-check';
import { type Model, model, plainText, range, refuses, sameTags, tagged, tags } from './model.ts';

const port = fc.integer({ min: 0, max: 65_535 });
const ports = fc.tuple(port, port).map(([a, b]) => ({ FromPort: Math.min(a, b), ToPort: Math.max(a, b) }));
const icmpType = fc.oneof(
  fc.constant({ FromPort: -1, ToPort: -1 }),
  fc.record({ FromPort: fc.integer({ min: 0, max: 255 }), ToPort: fc.integer({ min: -1, max: 255 }) }),
);

/** Protocols with the ports that go with them, as they are shown. */
const traffic = fc.oneof(
  fc.record({ IpProtocol: fc.constantFrom('tcp', 'udp'), ports }),
  fc.record({ IpProtocol: fc.constantFrom('icmp', 'icmpv6'), ports: icmpType }),
  fc.record({ IpProtocol: fc.constantFrom('-1', '47', '132'), ports: fc.constant({}) }),
);

const ipv6 = fc.constantFrom('::/0', '2001:db8::/32', 'fd00:1::/48', '2001:db8::1/128');
const list = fc.constantFrom('pl-12345678', 'pl-0123456789abcdef0');
const description = fc.oneof(fc.constant(undefined), plainText(1, 20));

/** One rule: what is granted, and to whom. `group` is the group itself. */
const rule = fc.record({
  traffic,
  source: fc.oneof(
    range([192, 168], 8, 32).map(({ given, network }) => ({ kind: 'ipv4' as const, given, shown: network })),
    ipv6.map((given) => ({ kind: 'ipv6' as const, given, shown: given })),
    list.map((given) => ({ kind: 'list' as const, given, shown: given })),
    fc.constant({ kind: 'group' as const, given: '', shown: '' }),
  ),
  Description: description,
});
type Rule = typeof rule extends fc.Arbitrary<infer T> ? T : never;

const isSensible = ({ traffic: { IpProtocol }, source }: Rule): boolean =>
  IpProtocol !== 'icmpv6' || source.kind !== 'ipv4';

const permissionOf = ({ traffic, source, Description }: Rule, groupId: string): IpPermission => {
  const base = { IpProtocol: traffic.IpProtocol, ...traffic.ports };
  switch (source.kind) {
    case 'ipv4':
      return { ...base, IpRanges: [{ CidrIp: source.given, Description }] };
    case 'ipv6':
      return { ...base, Ipv6Ranges: [{ CidrIpv6: source.given, Description }] };
    case 'list':
      return { ...base, PrefixListIds: [{ PrefixListId: source.given, Description }] };
    case 'group':
      return { ...base, UserIdGroupPairs: [{ GroupId: groupId, Description }] };
  }
};

/** A rule in one line, whichever way it is shown. */
const line = (protocol = '', from = -1, to = -1, source = '', text = ''): string =>
  `${protocol} ${from} ${to} ${source} ${text}`;

const asked = (one: Rule, groupId: string): string => {
  const { FromPort, ToPort }: { FromPort?: number; ToPort?: number } = one.traffic.ports;
  const source = one.source.kind === 'group' ? groupId : one.source.shown;
  return line(one.traffic.IpProtocol, FromPort, ToPort, source, one.Description);
};

const shownIn = (permissions: readonly IpPermission[] = []): readonly string[] =>
  permissions
    .flatMap(({ IpProtocol, FromPort, ToPort, ...sources }) =>
      [
        ...(sources.IpRanges ?? []).map(({ CidrIp, Description }) => [CidrIp, Description]),
        ...(sources.Ipv6Ranges ?? []).map(({ CidrIpv6, Description }) => [CidrIpv6, Description]),
        ...(sources.PrefixListIds ?? []).map(({ PrefixListId, Description }) => [PrefixListId, Description]),
        ...(sources.UserIdGroupPairs ?? []).map(({ GroupId, Description }) => [GroupId, Description]),
      ].map(([source, text]) => line(IpProtocol, FromPort, ToPort, source, text)),
    )
    .sort();

const withoutText = (one: Rule): string => asked({ ...one, Description: undefined }, '');

const group = model(
  'a security group',
  fc.record({
    GroupName: plainText(1, 40).filter((name) => !/^(sg-|default$)/i.test(name)),
    Description: plainText(1, 40),
    list: tags,
    egress: fc.boolean(),
    rules: fc.uniqueArray(rule.filter(isSensible), { selector: withoutText, minLength: 1, maxLength: 5 }),
  }),
  async ({ client: { call }, own }, { GroupName, Description, list: given, egress, rules }) => {
    const input = { GroupName, Description, VpcId: own.vpc };
    const { GroupId = '' } = await call('CreateSecurityGroup', {
      ...input,
      ...tagged('security-group', given),
    });
    const describe = async () =>
      (await call('DescribeSecurityGroups', { GroupIds: [GroupId] })).SecurityGroups?.[0];
    const one = await describe();
    assert.deepEqual([one?.GroupName, one?.Description, one?.VpcId], [GroupName, Description, own.vpc]);
    sameTags(one?.Tags, given);
    const [authorize, revoke] = egress
      ? (['AuthorizeSecurityGroupEgress', 'RevokeSecurityGroupEgress'] as const)
      : (['AuthorizeSecurityGroupIngress', 'RevokeSecurityGroupIngress'] as const);
    await call('RevokeSecurityGroupEgress', { GroupId, IpPermissions: one?.IpPermissionsEgress });
    const IpPermissions = rules.map((each) => permissionOf(each, GroupId));
    await call(authorize, { GroupId, IpPermissions, ...tagged('security-group-rule', given) });
    const full = await describe();
    const shown = egress ? full?.IpPermissionsEgress : full?.IpPermissions;
    assert.deepEqual(shownIn(shown), rules.map((each) => asked(each, GroupId)).sort());
    const { SecurityGroupRules = [] } = await call('DescribeSecurityGroupRules', {
      Filters: [{ Name: 'group-id', Values: [GroupId] }],
    });
    assert.deepEqual(
      SecurityGroupRules.map((each) => {
        const peer = each.ReferencedGroupInfo?.GroupId;
        const source = each.CidrIpv4 ?? each.CidrIpv6 ?? each.PrefixListId ?? peer;
        sameTags(each.Tags, given);
        assert.equal(each.IsEgress, egress);
        return line(each.IpProtocol, each.FromPort, each.ToPort, source, each.Description);
      }).sort(),
      rules.map((each) => asked(each, GroupId)).sort(),
    );
    // What was shown is understood when it comes back.
    await call(revoke, { GroupId, IpPermissions: shown });
    assert.deepEqual((await describe())?.IpPermissions ?? [], []);
    await call('DeleteSecurityGroup', { GroupId });
    await refuses(call('DescribeSecurityGroups', { GroupIds: [GroupId] }), 'InvalidGroup.NotFound');
  },
);

export const groupModels: readonly Model[] = [group];
