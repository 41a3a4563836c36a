/** Instance profiles from the launch to a signed request: by AWS's own SDK, with what the card answers to the guest. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import * as sdk from '@aws-sdk/client-ec2';
import { answerMetadata } from '#card/metadata/answer.ts';
import { TokenSigner } from '#card/metadata/token.ts';
import type { VmMetadata } from '#contracts/network.ts';
import { derivedCredentials } from '#region/instance-credentials.ts';
import { createProfile, deleteProfile } from '#region/instance-profiles.ts';
import { eventually, portOf, vpcOf } from '../card/lab.ts';
import { codeOf, messageOf, type Reply, sendRaw, sign, textsOf } from './cloud.ts';
import { type RealClient, type RealCloud, regionName, startRealCloud } from './realCloud.ts';

interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

describe('instance profiles', () => {
  let cloud: RealCloud;
  let alice: RealClient;
  let bob: RealClient;
  before(async () => {
    cloud = await startRealCloud({ routerLimits: { keyTtlMs: 1, unknownKeyTtlMs: 1 } });
    alice = await cloud.account();
    bob = await cloud.account();
    const profiles = [
      { accountId: alice.accountId, name: 'reader', policy: 'read-only' },
      { accountId: alice.accountId, name: 'keeper', policy: 'full' },
      { accountId: bob.accountId, name: 'of-bob', policy: 'full' },
    ] as const;
    for (const profile of profiles) await createProfile(cloud.region, profile);
  });
  after(() => cloud.close());

  const launched = async (input: Parameters<RealClient['run']>[0] = {}, client = alice): Promise<string> => {
    const [made] = await client.run(input);
    const id = made?.InstanceId ?? '';
    await client.reaches(id, 'running');
    return id;
  };
  /** What the host of an instance was told, and its card answers from. */
  const told = (id: string): VmMetadata | undefined =>
    cloud.hosts.find((host) => host.vms.has(id))?.vms.get(id)?.metadata;
  /** What a guest reads, by the very function that its card answers with. */
  const guestReads = (id: string, path: string): string => {
    const metadata = told(id);
    assert.ok(metadata !== undefined);
    const port = portOf(4, undefined);
    const subject = {
      metadata: { ...metadata, httpTokens: 'optional' as const },
      port,
      vpc: vpcOf('vpc-1', 1, 1, [port]),
    };
    const request = { method: 'GET', path: `/latest/meta-data/${path}`, header: () => undefined };
    const answer = answerMetadata(request, subject, new TokenSigner(Buffer.alloc(32)), 0);
    return answer.status === 200 ? String(answer.body) : `${answer.status}`;
  };
  const credentialsOf = (id: string): Credentials => {
    const role = guestReads(id, 'iam/security-credentials/');
    const read = JSON.parse(guestReads(id, `iam/security-credentials/${role}`));
    return { accessKeyId: read.AccessKeyId, secretAccessKey: read.SecretAccessKey, sessionToken: read.Token };
  };
  const signed = (
    credentials: Omit<Credentials, 'sessionToken'> & { readonly sessionToken?: string },
    action = 'DescribeInstances',
    service = 'ec2',
  ): Promise<Reply> => {
    const version = service === 'ec2' ? '2016-11-15' : '2011-06-15';
    return sendRaw(
      cloud.port,
      sign(cloud.port, `Action=${action}&Version=${version}`, {
        key: credentials,
        region: regionName,
        service,
      }),
    );
  };
  const associations = async (input: sdk.DescribeIamInstanceProfileAssociationsCommandInput = {}) =>
    (await alice.call('DescribeIamInstanceProfileAssociations', input)).IamInstanceProfileAssociations ?? [];
  const associated = (id: string) =>
    eventually(
      () => associations({ Filters: [{ Name: 'instance-id', Values: [id] }] }),
      ([one]) => one?.State === 'associated',
    );

  it('are launched with, shown, and give the guest credentials that sign requests as the role', async () => {
    const [made] = await alice.run({ IamInstanceProfile: { Name: 'reader' } });
    const id = made?.InstanceId ?? '';
    const arn = `arn:aws:iam::${alice.accountId}:instance-profile/reader`;
    assert.equal(made?.IamInstanceProfile?.Arn, arn);
    const { IamInstanceProfile: shown } = await alice.reaches(id, 'running');
    assert.deepEqual(shown, made?.IamInstanceProfile);
    const byFilter = await alice.call('DescribeInstances', {
      Filters: [{ Name: 'iam-instance-profile.arn', Values: [arn] }],
    });
    assert.deepEqual(
      byFilter.Reservations?.[0]?.Instances?.map(({ InstanceId }) => InstanceId),
      [id],
    );
    assert.equal(JSON.parse(guestReads(id, 'iam/info')).InstanceProfileId, shown?.Id);
    const credentials = credentialsOf(id);
    const client = new sdk.EC2Client({
      ...{ endpoint: `http://127.0.0.1:${cloud.port}`, region: regionName, credentials, maxAttempts: 1 },
    });
    const { Reservations } = await client.send(new sdk.DescribeInstancesCommand({ InstanceIds: [id] }));
    assert.equal(Reservations?.[0]?.OwnerId, alice.accountId);
    const identity = await signed(credentials, 'GetCallerIdentity', 'sts');
    assert.deepEqual(textsOf(identity, 'Arn'), [`arn:aws:sts::${alice.accountId}:assumed-role/reader/${id}`]);
    await assert.rejects(client.send(new sdk.TerminateInstancesCommand({ InstanceIds: [id] })), {
      name: 'UnauthorizedOperation',
      message: /assumed-role\/reader\/i-[0-9a-f]+ is not authorized to perform: ec2:TerminateInstances/,
    });
    client.destroy();
    assert.equal((await alice.instance(id)).State?.Name, 'running');
    // What is written down to be read by people has no secret of it.
    const tables = await cloud.cell.services.db.query<{ text: string }>(
      `select string_agg(t::text, '') as text from instances t`,
    );
    const workflows = await cloud.cell.services.db.query<{ text: string }>(
      `select string_agg(t::text, '') as text from workflows t`,
    );
    for (const { text } of [...tables, ...workflows]) {
      assert.ok(text.includes(id));
      assert.ok(!text.includes(credentials.secretAccessKey) && !text.includes(credentials.sessionToken));
    }
  });

  it('let a full one change what is the account’s', async () => {
    const id = await launched({ IamInstanceProfile: { Name: 'keeper' } });
    const reply = await signed(credentialsOf(id), 'AllocateAddress');
    assert.equal(reply.status, 200, reply.body);
  });

  it('are refused with another token, none, one that has expired, and that of another account', async () => {
    const id = await launched({ IamInstanceProfile: { Name: 'reader' } });
    const other = await launched({ IamInstanceProfile: { Name: 'of-bob' } }, bob);
    const { sessionToken, ...key } = credentialsOf(id);
    const foreign = credentialsOf(other);
    const forged = `${sessionToken.slice(0, 8)}${sessionToken[8] === 'A' ? 'B' : 'A'}${sessionToken.slice(9)}`;
    const wrong = [undefined, '', 'x', forged, foreign.sessionToken, 'x'.repeat(4_000)];
    for (const token of wrong) {
      const used = token === undefined ? key : { ...key, sessionToken: token };
      assert.equal(codeOf(await signed(used)), 'AuthFailure', token);
      assert.equal(codeOf(await signed(used, 'GetCallerIdentity', 'sts')), 'InvalidClientTokenId', token);
    }
    // Its own token, and another's secret.
    assert.equal(
      codeOf(await signed({ ...key, secretAccessKey: foreign.secretAccessKey, sessionToken })),
      'SignatureDoesNotMatch',
    );
    assert.equal(codeOf(await signed({ ...alice.key, sessionToken })), 'AuthFailure', 'a permanent key');
    const profileId = told(id)?.profile?.profileId ?? '';
    const late = derivedCredentials(cloud.region.sealer, {
      ...{ profileId, instanceId: id, expiresAtSeconds: Math.floor(Date.now() / 1000) - 1 },
    });
    const expired = { ...late, sessionToken: late.token };
    const reply = await signed(expired);
    assert.deepEqual([codeOf(reply), messageOf(reply)], ['RequestExpired', 'Request has expired.']);
    assert.equal(codeOf(await signed(expired, 'GetCallerIdentity', 'sts')), 'ExpiredToken');
    assert.equal((await signed({ ...key, sessionToken })).status, 200, 'the right one is still good');
    const seen = await signed(foreign);
    assert.ok(seen.body.includes(other) && !seen.body.includes(id), 'each sees its own account');
  });

  it('that are not the account’s are no profiles, in EC2’s words', async () => {
    const before = await cloud.fingerprint();
    const foreignArn = `arn:aws:iam::${bob.accountId}:instance-profile/of-bob`;
    for (const [profile, message] of [
      [
        { Name: 'of-bob' },
        /Value \(of-bob\) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name/,
      ],
      [
        { Arn: foreignArn },
        /for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN/,
      ],
      [{ Name: 'x'.repeat(5_000) }, /Invalid IAM Instance Profile name/],
    ] as const)
      await assert.rejects(alice.run({ IamInstanceProfile: profile }), {
        name: 'InvalidParameterValue',
        message,
      });
    await assert.rejects(alice.run({ IamInstanceProfile: { Name: 'reader', Arn: foreignArn } }), {
      name: 'InvalidParameterCombination',
    });
    assert.equal(await cloud.fingerprint(), before);
  });

  it('are associated with a running VM, replaced and taken away; the guest follows', async () => {
    const id = await launched();
    assert.equal(guestReads(id, 'iam/info'), '404');
    const { IamInstanceProfileAssociation: first } = await alice.call('AssociateIamInstanceProfile', {
      InstanceId: id,
      IamInstanceProfile: { Name: 'reader' },
    });
    assert.equal(first?.State, 'associating');
    assert.match(first?.AssociationId ?? '', /^iip-assoc-[0-9a-f]{17}$/);
    const [shown] = await associated(id);
    assert.deepEqual(
      [shown?.AssociationId, shown?.IamInstanceProfile],
      [first?.AssociationId, (await alice.instance(id)).IamInstanceProfile],
    );
    assert.equal((await signed(credentialsOf(id))).status, 200);
    await assert.rejects(
      alice.call('AssociateIamInstanceProfile', {
        InstanceId: id,
        IamInstanceProfile: { Name: 'keeper' },
      }),
      { name: 'IncorrectState', message: `There is an existing association for instance ${id}` },
    );
    await assert.rejects(
      bob.call('DisassociateIamInstanceProfile', { AssociationId: first?.AssociationId }),
      { name: 'InvalidAssociationID.NotFound' },
    );
    const { IamInstanceProfileAssociation: second } = await alice.call(
      'ReplaceIamInstanceProfileAssociation',
      { AssociationId: first?.AssociationId, IamInstanceProfile: { Name: 'keeper' } },
    );
    await associated(id);
    await eventually(
      async () => guestReads(id, 'iam/security-credentials/'),
      (role) => role === 'keeper',
    );
    await assert.rejects(associations({ AssociationIds: [first?.AssociationId ?? ''] }), {
      name: 'InvalidAssociationID.NotFound',
    });
    const { IamInstanceProfileAssociation: ended } = await alice.call('DisassociateIamInstanceProfile', {
      AssociationId: second?.AssociationId,
    });
    assert.equal(ended?.State, 'disassociating');
    assert.equal((await alice.instance(id)).IamInstanceProfile, undefined);
    await eventually(
      async () => guestReads(id, 'iam/info'),
      (answer) => answer === '404',
    );
    assert.deepEqual(await associations({ Filters: [{ Name: 'instance-id', Values: [id] }] }), []);
  });

  it('are shown page by page', async () => {
    const many = await alice.run({ MinCount: 7, MaxCount: 7, IamInstanceProfile: { Name: 'reader' } });
    for (const { InstanceId } of many) await alice.reaches(InstanceId ?? '', 'running');
    const all = (await associations()).map(({ InstanceId }) => InstanceId);
    const paged: (string | undefined)[] = [];
    let NextToken: string | undefined;
    do {
      const page = await alice.call('DescribeIamInstanceProfileAssociations', {
        ...{ MaxResults: 5, ...(NextToken === undefined ? {} : { NextToken }) },
      });
      paged.push(...(page.IamInstanceProfileAssociations ?? []).map(({ InstanceId }) => InstanceId));
      NextToken = page.NextToken;
    } while (NextToken !== undefined);
    assert.deepEqual(paged, all);
    assert.ok(many.every(({ InstanceId }) => all.includes(InstanceId)));
  });

  it('renew credentials before they expire, also of one that was stopped meanwhile', async () => {
    const id = await launched({ IamInstanceProfile: { Name: 'reader' } });
    await associated(id);
    const first = credentialsOf(id);
    // Credentials are dated by the second.
    await eventually(
      async () => {
        cloud.clock.aheadMs += 21 * 60_000;
        return credentialsOf(id);
      },
      ({ sessionToken }) => sessionToken !== first.sessionToken,
    );
    assert.equal((await signed(credentialsOf(id))).status, 200);
    assert.equal((await signed(first)).status, 200, 'the former ones are good until they expire');
    await alice.call('StopInstances', { InstanceIds: [id] });
    await alice.reaches(id, 'stopped');
    await alice.call('StartInstances', { InstanceIds: [id] });
    await alice.reaches(id, 'running');
    assert.equal((await signed(credentialsOf(id))).status, 200);
  });

  it('end with their profile and with their instance', async () => {
    await createProfile(cloud.region, { accountId: alice.accountId, name: 'brief', policy: 'full' });
    const id = await launched({ IamInstanceProfile: { Name: 'brief' } });
    const terminated = await launched({ IamInstanceProfile: { Name: 'reader' } });
    const [ofProfile, ofInstance] = [credentialsOf(id), credentialsOf(terminated)];
    for (const credentials of [ofProfile, ofInstance]) assert.equal((await signed(credentials)).status, 200);
    await deleteProfile(cloud.region, alice.accountId, 'brief');
    await alice.call('TerminateInstances', { InstanceIds: [terminated] });
    await alice.reaches(terminated, 'terminated');
    for (const credentials of [ofProfile, ofInstance])
      await eventually(
        async () => codeOf(await signed(credentials)),
        (code) => code === 'AuthFailure',
      );
    assert.equal((await alice.instance(id)).State?.Name, 'running', 'the VM itself loses nothing');
    assert.deepEqual(await associations({ Filters: [{ Name: 'instance-id', Values: [terminated] }] }), []);
  });

  it('come from a launch template, and go into one', async () => {
    const { LaunchTemplate } = await alice.call('CreateLaunchTemplate', {
      LaunchTemplateName: 'with-profile',
      LaunchTemplateData: { IamInstanceProfile: { Name: 'reader' } },
    });
    const id = await launched({ LaunchTemplate: { LaunchTemplateId: LaunchTemplate?.LaunchTemplateId } });
    const { IamInstanceProfile } = await alice.instance(id);
    assert.match(IamInstanceProfile?.Arn ?? '', /:instance-profile\/reader$/);
    const { LaunchTemplateData } = await alice.call('GetLaunchTemplateData', { InstanceId: id });
    assert.equal(LaunchTemplateData?.IamInstanceProfile?.Arn, IamInstanceProfile?.Arn);
  });
});
