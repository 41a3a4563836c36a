/** Hostile requests against the whole region: EC2's error, no server error, and nothing changed in either store. */
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { isErrorCode } from '#contracts/errors.ts';
import { routedActions } from '#router/actions.ts';
import { operationOf } from '#wire/actions.ts';
import type { KnownAction } from '#wire/types.ts';
import { type Belongings, furnish, kindOf, valueFor } from './belongings.ts';
import { codeOf, type Reply, type SendOptions, textsOf } from './cloud.ts';
import { type Leaf, leavesOf, requiredLeaves } from './forms.ts';
import { type RealClient, type RealCloud, startRealCloud } from './realCloud.ts';

/** A name, unlike an id, is each account's own. */
const names: ReadonlySet<string> = new Set(['CreateKeyPair', 'ImportKeyPair', 'DeleteKeyPair']);

const actions = routedActions.filter((name) => name !== 'GetCallerIdentity') as KnownAction[];
const hostileTexts = [
  `'; DROP TABLE instances; --`,
  `") or 1=1 -- $$; select pg_sleep(9)`,
  '$(id)`id`|id\n&& id',
  `<x>&"'</x>]]>%s%n\${jndi:x}`,
  '../../../../etc/passwd',
  '\u202e\u{1f4a5}\ufeff\r\n\t\\u0000',
  'A'.repeat(9_000),
];

describe('hostile requests', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let mallory: RealClient;
  let own: Belongings;
  before(async () => {
    cloud = await startRealCloud();
    alice = await cloud.account();
    mallory = await cloud.account();
    own = await furnish(cloud, alice);
  });
  after(() => cloud.close());

  /** Sends requests that must all be refused with one of these codes, and looks that nothing changed. */
  const refused = async (work: () => Promise<Reply>, ...codes: string[]): Promise<void> => {
    const reply = await work();
    assert.ok(codes.includes(codeOf(reply) ?? ''), `${reply.status} ${reply.body}`);
    assert.ok(reply.status >= 400 && reply.status < 500);
  };
  const terminate = () =>
    new URLSearchParams({
      Action: 'TerminateInstances',
      Version: '2016-11-15',
      'InstanceId.1': own.instance,
    });
  const amzDate = (minutes: number) =>
    new Date(Date.now() + minutes * 60_000).toISOString().replaceAll(/[-:]|\.\d{3}/g, '');
  const withBody =
    (body: string): SendOptions['tamper'] =>
    ({ headers: { 'Content-Length': _length, ...headers }, ...signed }) => ({ ...signed, headers, body });

  it('a signature that is wrong, of another time, of another key or over another body terminates nothing', async () => {
    const before = await cloud.fingerprint();
    const form = terminate().toString();
    const other = { ...alice.key, secretAccessKey: mallory.key.secretAccessKey };
    const unknown = { ...alice.key, accessKeyId: 'AKIA0000000000000000' };
    await refused(() => alice.send(form, { key: other }), 'SignatureDoesNotMatch');
    await refused(() => alice.send(form, { key: unknown }), 'AuthFailure');
    await refused(() => alice.send(form, { region: 'us-east-1' }), 'SignatureDoesNotMatch', 'AuthFailure');
    await refused(() => alice.send(form, { service: 's3' }), 'SignatureDoesNotMatch', 'AuthFailure');
    for (const minutes of [-16, 16, 60 * 24 * 365])
      await refused(
        () => alice.send(form, { headers: { 'X-Amz-Date': amzDate(minutes) } }),
        'RequestExpired',
        'SignatureDoesNotMatch',
        'AuthFailure',
      );
    for (const body of [
      form.slice(0, -1),
      form.slice(0, 20),
      `${form}&Force=true`,
      '',
      form.replace('Terminate', 'Stop'),
    ])
      await refused(
        () => alice.send(form, { tamper: withBody(body) }),
        'SignatureDoesNotMatch',
        'MissingAction',
      );
    await refused(
      () =>
        alice.send(form, {
          tamper: ({ headers: { Authorization: _none, ...headers }, ...signed }) => ({ ...signed, headers }),
        }),
      'MissingAuthenticationToken',
      'AuthFailure',
    );
    // The body says less than its length: the connection ends without an answer to act on.
    const agent = new Agent();
    const short = alice.send(form, {
      agent,
      tamper: (signed) => ({
        ...signed,
        headers: { ...signed.headers, 'Content-Length': String(form.length + 100) },
      }),
    });
    await Promise.race([short.catch(() => undefined), new Promise((wake) => setTimeout(wake, 300))]);
    agent.destroy();
    assert.equal(await cloud.fingerprint(), before);
  });

  it('a replayed launch is the same launch', async () => {
    let sent: Parameters<RealCloud['raw']>[0] | undefined;
    const form = new URLSearchParams({
      Action: 'RunInstances',
      Version: '2016-11-15',
      ImageId: own.image,
      InstanceType: 'p1.nano',
      MinCount: '1',
      MaxCount: '1',
      ClientToken: 'replayed',
    });
    const first = await alice.send(form.toString(), {
      tamper: (signed) => {
        sent = signed;
        return signed;
      },
    });
    assert.ok(sent !== undefined);
    await cloud.quiet();
    const before = await cloud.fingerprint();
    for (let i = 0; i < 3; i += 1) {
      const again = await cloud.raw(sent);
      assert.deepEqual(textsOf(again, 'instanceId'), textsOf(first, 'instanceId'));
    }
    assert.equal(await cloud.fingerprint(), before);
  });

  it('ten megabytes, too many parameters and too deep ones are refused, and the next request is served', async () => {
    const before = await cloud.fingerprint();
    const big = await alice
      .act('CreateTags', { 'ResourceId.1': own.vpc, 'Tag.1.Key': 'k', 'Tag.1.Value': 'v'.repeat(10_000_000) })
      // The server ends the connection while we still send.
      .catch(() => undefined);
    if (big !== undefined) assert.deepEqual([big.status, codeOf(big)], [413, 'RequestEntityTooLarge']);
    const many = Object.fromEntries(
      Array.from({ length: 6_000 }, (_, at) => [`InstanceId.${at + 1}`, own.instance]),
    );
    await refused(() => alice.act('TerminateInstances', many), 'InvalidParameterValue');
    await refused(() => alice.act('DescribeVpcs', { 'VpcId.2147483648': own.vpc }), 'UnknownParameter');
    await refused(() => alice.act('DescribeVpcs', { [`Filter${'.1'.repeat(40)}`]: 'x' }), 'UnknownParameter');
    await refused(() => alice.act('DescribeVpcs', { ['x'.repeat(300)]: 'x' }), 'InvalidParameterValue');
    const filters = Object.fromEntries(
      Array.from({ length: 60 }, (_, at) => [
        [`Filter.${at + 1}.Name`, 'state'],
        [`Filter.${at + 1}.Value.1`, 'x'],
      ]).flat(),
    );
    await refused(() => alice.act('DescribeVpcs', filters), 'FilterLimitExceeded');
    // A pattern that would take for ever if it were tried the naive way.
    const glob = { 'Filter.1.Name': 'vpc-id', 'Filter.1.Value.1': `${'*a'.repeat(100)}b` };
    assert.equal((await alice.act('DescribeVpcs', glob)).status, 200);
    assert.equal((await alice.act('DescribeVpcs')).status, 200);
    assert.equal(await cloud.fingerprint(), before);
  });

  it('every action refuses parameters that it does not have, and values of other types', async () => {
    const before = await cloud.fingerprint();
    for (const action of actions) {
      const { input } = operationOf(action);
      if (input === undefined) continue;
      const right = parametersOf(action);
      for (const name of ['Nonsense', '__proto__', 'constructor.prototype', 'Filter.1.Nonsense', 'a.b.c.d'])
        await refused(() => alice.act(action, { ...right, [name]: 'x' }), 'UnknownParameter');
      const typed = leavesOf(input).filter(({ scalar }) => scalar === 'integer' || scalar === 'boolean');
      for (const { path } of typed.slice(0, 8))
        for (const value of ['', 'yes', '1e9', '0x10', '99999999999999999999', "1' or '1"])
          await refused(() => alice.act(action, { ...right, [path]: value }), 'InvalidParameterValue');
      await refused(() => alice.act(action, { ...right, 'X.1': '\u0000' }), 'InvalidParameterValue');
    }
    for (const action of [
      'DescribeEverything',
      'describevpcs',
      '',
      '__proto__',
      'A'.repeat(5_000),
      "x' or 1=1",
    ])
      await refused(() => alice.act(action), 'InvalidAction', 'MissingAction');
    assert.equal(await cloud.fingerprint(), before);
  });

  const parametersOf = (action: KnownAction): Record<string, string> => {
    const { input } = operationOf(action);
    const leaves = input === undefined ? [] : requiredLeaves(input);
    return Object.fromEntries(leaves.map(({ path, member }) => [path, valueFor(action, member, own)]));
  };
  const textLeaves = (action: KnownAction): readonly Leaf[] => {
    const { input } = operationOf(action);
    return input === undefined ? [] : leavesOf(input).filter(({ scalar }) => scalar === 'string');
  };

  it('a NUL in any text field of any action is refused', async () => {
    const before = await cloud.fingerprint();
    for (const action of actions)
      for (const { path } of textLeaves(action))
        await refused(
          () => alice.act(action, { ...parametersOf(action), [path]: 'a\u0000b' }),
          'InvalidParameterValue',
        );
    assert.equal(await cloud.fingerprint(), before);
  });

  it('no text in any field of any action breaks anything, and one that is refused changes nothing', async () => {
    let state = await cloud.fingerprint();
    let fields = 0;
    for (const action of actions) {
      for (const [at, { path }] of textLeaves(action).entries()) {
        fields += 1;
        // Three of the texts for each field, other ones for the next.
        const texts = [0, 1, 2].map((n) => hostileTexts[(at + n * 2 + fields) % hostileTexts.length] ?? '');
        const replies = [];
        for (const text of texts)
          replies.push(await alice.act(action, { ...parametersOf(action), [path]: text }));
        for (const reply of replies) {
          assert.ok(reply.status < 500, `${action} ${path}: ${reply.body}`);
          const code = codeOf(reply);
          assert.ok(reply.status === 200 || (code !== undefined && isErrorCode(code)), reply.body);
        }
        if (replies.some(({ status }) => status === 200) && !/^(Describe|Get)/.test(action)) {
          await cloud.quiet();
          state = await cloud.fingerprint();
          // What was changed may have been needed: the rest is tried on a new furnishing.
          if (await damaged()) {
            alice = await cloud.account();
            own = await furnish(cloud, alice);
            state = await cloud.fingerprint();
          }
        } else assert.equal(await cloud.fingerprint(), state, `${action} ${path}`);
      }
    }
    assert.ok(fields > 400, String(fields));
  });
  const damaged = async (): Promise<boolean> => {
    const replies = await Promise.all([
      alice.act('DescribeSubnets', { 'SubnetId.1': own.subnet }),
      alice.act('DescribeRouteTables', {
        'RouteTableId.1': own.table,
        'Filter.1.Name': 'association.route-table-association-id',
        'Filter.1.Value.1': own.association,
      }),
      alice.act('DescribeInstances', {
        'InstanceId.1': own.instance,
        'Filter.1.Name': 'instance-state-name',
        'Filter.1.Value.1': 'running',
      }),
      alice.act('DescribeSecurityGroups', { 'GroupId.1': own.group }),
      alice.act('DescribeAddresses', { 'AllocationId.1': own.allocation }),
      alice.act('DescribeKeyPairs', { 'KeyName.1': own.keyName }),
    ]);
    return replies.some(
      ({ status, body }) => status !== 200 || /<(reservationSet|routeTableSet)\/>/.test(body),
    );
  };

  it('ids of another account are not there for any action, and what is theirs stays as it is', async () => {
    await cloud.quiet();
    const before = await cloud.fingerprint();
    let tried = 0;
    for (const action of actions) {
      const named = textLeaves(action).filter(({ member, path }) => {
        const kind = kindOf(member);
        if (kind === 'keyName' && names.has(action)) return false;
        // One that is not there is deleted already.
        if (action === 'DeleteKeyPair') return false;
        // A template's data is text until something is launched from it: `realTemplates.test.ts` does.
        if (path.startsWith('LaunchTemplateData.')) return false;
        return kind !== undefined && kind !== 'image' && !path.startsWith('Filter');
      });
      for (const { path, member } of named) {
        const parameters = { ...parametersOf(action), [path]: valueFor(action, member, own) };
        const reply = await mallory.act(action, parameters);
        tried += 1;
        assert.ok(reply.status < 500, `${action} ${path}: ${reply.body}`);
        assert.ok(reply.status >= 400, `${action} ${path} (${parameters[path]}): ${reply.body}`);
        assert.doesNotMatch(reply.body, new RegExp(alice.accountId));
      }
    }
    assert.ok(tried > 80, String(tried));
    assert.equal(await cloud.fingerprint(), before);
    for (const action of actions.filter((name) => /^Describe/.test(name))) {
      const { input } = operationOf(action);
      if (requiredCountOf(action) > 0 || !input?.byName.has('Filters')) continue;
      const reply = await mallory.act(action);
      for (const [kind, id] of Object.entries(own))
        if (kind !== 'image' && kind !== 'keyName')
          assert.ok(!reply.body.includes(id), `${action} shows ${kind} of another account`);
    }
  });
  const requiredCountOf = (action: KnownAction): number => operationOf(action).input?.requiredCount ?? 0;
});
