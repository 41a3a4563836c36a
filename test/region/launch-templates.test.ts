/**
 * Launch templates: names, versions, defaults, what is inherited. Codes are EC2's; that the newest version is listed first, that numbers
 * are not given again and that a version made from another replaces members as a whole is how the user guide describes them.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it, mock } from 'node:test';
import { sql } from 'kysely';
import { StoreConnection } from '#base/postgres/connection.ts';
import { type Client, startTestRegion, type TestRegion } from './test-region.ts';

const data = {
  ImageId: 'ami-0123456789abcdef0',
  InstanceType: 't3.micro' as const,
  Monitoring: { Enabled: true },
  BlockDeviceMappings: [{ DeviceName: '/dev/xvda', Ebs: { VolumeSize: 8, DeleteOnTermination: true } }],
  NetworkInterfaces: [{ DeviceIndex: 0, AssociatePublicIpAddress: true, Groups: ['sg-0123456789abcdef0'] }],
  TagSpecifications: [{ ResourceType: 'instance' as const, Tags: [{ Key: 'a', Value: 'b' }] }],
  MetadataOptions: { HttpTokens: 'required' as const, HttpPutResponseHopLimit: 2 },
  UserData: Buffer.from('#!/bin/sh').toString('base64'),
  InstanceMarketOptions: {
    MarketType: 'spot' as const,
    SpotOptions: { ValidUntil: new Date('2030-01-01T00:00:00Z') },
  },
};

describe('launch templates', () => {
  let region: TestRegion;
  let alice: Client;
  let mallory: Client;
  let made = 0;
  before(async () => {
    region = await startTestRegion();
    alice = await region.account();
    mallory = await region.account();
  });
  after(() => region.stop());

  const make = async (more: object = {}) => {
    made += 1;
    const { LaunchTemplate: template } = await alice.call('CreateLaunchTemplate', {
      LaunchTemplateName: `template-${made}`,
      LaunchTemplateData: { InstanceType: 't3.nano' },
      ...more,
    });
    return { id: template?.LaunchTemplateId ?? '', name: template?.LaunchTemplateName ?? '', template };
  };
  const addVersion = (LaunchTemplateId: string, LaunchTemplateData: object, more: object = {}) =>
    alice
      .call('CreateLaunchTemplateVersion', { LaunchTemplateId, LaunchTemplateData, ...more })
      .then((answer) => answer.LaunchTemplateVersion);
  const versions = async (input: object) =>
    (await alice.call('DescribeLaunchTemplateVersions', input)).LaunchTemplateVersions ?? [];

  it('give back what was put in, to the member', async () => {
    const { id, name, template } = await make({
      LaunchTemplateData: data,
      VersionDescription: 'first',
      TagSpecifications: [{ ResourceType: 'launch-template', Tags: [{ Key: 'Name', Value: 'x' }] }],
    });
    assert.match(id, /^lt-[0-9a-f]{17}$/);
    assert.deepEqual(
      [template?.DefaultVersionNumber, template?.LatestVersionNumber, template?.Tags],
      [1, 1, [{ Key: 'Name', Value: 'x' }]],
    );
    const [version] = await versions({ LaunchTemplateId: id });
    assert.deepEqual(version?.LaunchTemplateData, data);
    assert.deepEqual(
      [
        version?.VersionNumber,
        version?.VersionDescription,
        version?.DefaultVersion,
        version?.LaunchTemplateName,
      ],
      [1, 'first', true, name],
    );
    assert.equal(version?.CreatedBy, `arn:aws:iam::${alice.accountId}:root`);
    const described = await alice.call('DescribeLaunchTemplates', { LaunchTemplateNames: [name] });
    assert.deepEqual(described.LaunchTemplates, [template]);
    for (const [Name, value] of [
      ['launch-template-name', name],
      ['tag:Name', 'x'],
    ] as const) {
      const found = await alice.call('DescribeLaunchTemplates', { Filters: [{ Name, Values: [value] }] });
      assert.deepEqual(
        found.LaunchTemplates?.map((one) => one.LaunchTemplateId),
        [id],
        Name,
      );
    }
    await alice.call('CreateTags', { Resources: [id], Tags: [{ Key: 'later', Value: 'y' }] });
    const retagged = await alice.call('DescribeLaunchTemplates', { LaunchTemplateIds: [id] });
    assert.equal(retagged.LaunchTemplates?.[0]?.Tags?.length, 2);
  });

  it('number versions in their order, also when some are made at once; no number twice', async () => {
    const { id } = await make();
    const many = await Promise.all(
      Array.from({ length: 8 }, (_, at) => addVersion(id, { KeyName: `k${at}` })),
    );
    assert.deepEqual(many.map((one) => one?.VersionNumber).sort(), [2, 3, 4, 5, 6, 7, 8, 9]);
    const { SuccessfullyDeletedLaunchTemplateVersions: gone } = await alice.call(
      'DeleteLaunchTemplateVersions',
      {
        LaunchTemplateId: id,
        Versions: ['9', '8'],
      },
    );
    assert.deepEqual(gone?.map((one) => one.VersionNumber).sort(), [8, 9]);
    const { LaunchTemplates: [now] = [] } = await alice.call('DescribeLaunchTemplates', {
      LaunchTemplateIds: [id],
    });
    assert.equal(now?.LatestVersionNumber, 7);
    assert.equal((await addVersion(id, {}))?.VersionNumber, 10);
    assert.deepEqual(
      (await versions({ LaunchTemplateId: id })).map((one) => one.VersionNumber),
      [10, 7, 6, 5, 4, 3, 2, 1],
    );
  });

  it('a version made from another inherits what is not given', async () => {
    const { id } = await make({ LaunchTemplateData: data });
    const next = await addVersion(
      id,
      { InstanceType: 't3.small', MetadataOptions: { HttpEndpoint: 'disabled' } },
      { SourceVersion: '1', VersionDescription: 'second' },
    );
    assert.deepEqual(next?.LaunchTemplateData, {
      ...data,
      InstanceType: 't3.small',
      MetadataOptions: { HttpEndpoint: 'disabled' },
    });
    assert.deepEqual((await addVersion(id, { KeyName: 'own' }))?.LaunchTemplateData, { KeyName: 'own' });
    const latest = await addVersion(id, {}, { SourceVersion: '$Latest' });
    assert.deepEqual(latest?.LaunchTemplateData, { KeyName: 'own' });
  });

  it('describe versions by number, alias, range, filter and page, of one template or of all', async () => {
    const dora = await region.account();
    const call = async (input: object) =>
      (await dora.call('DescribeLaunchTemplateVersions', input)).LaunchTemplateVersions ?? [];
    const ids: string[] = [];
    for (const LaunchTemplateName of ['one', 'two']) {
      const { LaunchTemplate } = await dora.call('CreateLaunchTemplate', {
        LaunchTemplateName: `${LaunchTemplateName}-template`,
        LaunchTemplateData: { ImageId: 'ami-1', InstanceType: 't3.nano' },
      });
      const LaunchTemplateId = LaunchTemplate?.LaunchTemplateId ?? '';
      ids.push(LaunchTemplateId);
      for (let at = 2; at <= 5; at += 1)
        await dora.call('CreateLaunchTemplateVersion', {
          LaunchTemplateId,
          LaunchTemplateData: { ImageId: `ami-${at}`, EbsOptimized: at === 3 },
        });
      await dora.call('ModifyLaunchTemplate', { LaunchTemplateId, DefaultVersion: '3' });
    }
    const [LaunchTemplateId = ''] = ids;
    const numbers = async (input: object) =>
      (await call({ LaunchTemplateId, ...input })).map((v) => v.VersionNumber);
    assert.deepEqual(await numbers({ Versions: ['$Default', '1', '$Latest'] }), [5, 3, 1]);
    assert.deepEqual(await numbers({ MinVersion: '2', MaxVersion: '4' }), [4, 3, 2]);
    assert.deepEqual(await numbers({ Filters: [{ Name: 'image-id', Values: ['ami-2', 'ami-4'] }] }), [4, 2]);
    assert.deepEqual(await numbers({ Filters: [{ Name: 'ebs-optimized', Values: ['true'] }] }), [3]);
    assert.deepEqual(await numbers({ Filters: [{ Name: 'is-default-version', Values: ['true'] }] }), [3]);
    const both = await call({ Versions: ['$Latest', '$Default'] });
    assert.deepEqual(both.map((one) => one.VersionNumber).sort(), [3, 3, 5, 5]);
    const page = await dora.call('DescribeLaunchTemplateVersions', { LaunchTemplateId, MaxResults: 2 });
    const rest = await dora.call('DescribeLaunchTemplateVersions', {
      LaunchTemplateId,
      MaxResults: 200,
      NextToken: page.NextToken ?? '',
    });
    assert.deepEqual(
      [page, rest].map((one) => one.LaunchTemplateVersions?.map((v) => v.VersionNumber)),
      [
        [5, 4],
        [3, 2, 1],
      ],
    );
    const first = await dora.call('DescribeLaunchTemplates', { MaxResults: 1 });
    const second = await dora.call('DescribeLaunchTemplates', {
      MaxResults: 1,
      NextToken: first.NextToken ?? '',
    });
    assert.deepEqual(
      [first, second].map((one) => one.LaunchTemplates?.[0]?.LaunchTemplateId).sort(),
      [...ids].sort(),
    );
    await assert.rejects(dora.call('DescribeLaunchTemplates', { MaxResults: 201 }), {
      code: 'InvalidParameterValue',
    });
    for (const Versions of [undefined, [], ['1'], ['$Latest', '2']])
      await assert.rejects(call({ Versions }), { code: 'MissingParameter' }, String(Versions));
    for (const Versions of [['7'], ['$Latest', '99']])
      await assert.rejects(numbers({ Versions }), { code: 'InvalidLaunchTemplateId.VersionNotFound' });
    for (const text of ['0', '-1', 'x', '$latest', '99999999999'])
      await assert.rejects(numbers({ Versions: [text] }), { code: 'InvalidParameterValue' }, text);
    await assert.rejects(numbers({ Versions: ['1'], MinVersion: '1' }), {
      code: 'InvalidParameterCombination',
    });
  });

  it('describe a page with few statements, and with the data of little more than that page', async (t) => {
    const erin = await region.account();
    const { db } = region.region;
    const [many, deep] = [250, 400];
    await sql`insert into launch_template (launch_template_id, account_id, name, created_by, last_version)
      select 'lt-' || lpad(to_hex(n), 17, '0'), ${erin.accountId}, 'template-' || n, 'erin', case n when 1 then ${deep}::int else 1 end
      from generate_series(1, ${many}::int) n`.execute(db);
    const UserData = 'x'.repeat(16_000);
    await sql`insert into launch_template_version (launch_template_id, version, created_by, data)
      select launch_template_id, n, 'erin', jsonb_build_object('ImageId', 'ami-' || n, 'UserData', ${UserData}::text)
      from launch_template t, generate_series(1, t.last_version) n where account_id = ${erin.accountId}`.execute(
      db,
    );
    const spy = mock.method(StoreConnection.prototype, 'query');
    t.after(() => spy.mock.restore());
    const statements = (): number =>
      spy.mock.calls.filter(({ arguments: [text] }) => String(text).includes('launch_template')).length;
    const seen: (number | undefined)[] = [];
    let NextToken: string | undefined;
    do {
      const before = statements();
      const page = await erin.call('DescribeLaunchTemplateVersions', {
        ...{ LaunchTemplateName: 'template-1', MaxResults: 150, NextToken },
      });
      assert.ok(statements() - before <= 4, `${statements() - before} statements for a page`);
      seen.push(...(page.LaunchTemplateVersions ?? []).map(({ VersionNumber }) => VersionNumber));
      NextToken = page.NextToken;
    } while (NextToken !== undefined);
    assert.deepEqual(
      seen,
      Array.from({ length: deep }, (_, at) => deep - at),
    );
    const before = statements();
    const all = await erin.call('DescribeLaunchTemplateVersions', { Versions: ['$Latest'] });
    assert.equal(all.LaunchTemplateVersions?.length, 200);
    assert.ok(statements() - before <= 4, `${statements() - before} statements for all templates`);
    const rare = await erin.call('DescribeLaunchTemplateVersions', {
      LaunchTemplateName: 'template-1',
      Filters: [{ Name: 'image-id', Values: ['ami-3', 'ami-399'] }],
    });
    assert.deepEqual(
      rare.LaunchTemplateVersions?.map(({ VersionNumber }) => VersionNumber),
      [399, 3],
    );
  });

  it('keep their default version: it moves by ModifyLaunchTemplate alone, and is not deleted', async () => {
    const { id, name } = await make();
    await addVersion(id, {});
    const { LaunchTemplate: moved } = await alice.call('ModifyLaunchTemplate', {
      LaunchTemplateName: name,
      DefaultVersion: '2',
    });
    assert.deepEqual([moved?.DefaultVersionNumber, moved?.LatestVersionNumber], [2, 2]);
    const {
      SuccessfullyDeletedLaunchTemplateVersions: gone,
      UnsuccessfullyDeletedLaunchTemplateVersions: kept,
    } = await alice.call('DeleteLaunchTemplateVersions', {
      LaunchTemplateId: id,
      Versions: ['2', '1', '9', '1'],
    });
    assert.deepEqual(
      gone?.map((one) => one.VersionNumber),
      [1],
    );
    assert.deepEqual(
      kept?.map((one) => [one.VersionNumber, one.ResponseError?.Code]),
      [
        [2, 'unexpectedError'],
        [9, 'launchTemplateVersionDoesNotExist'],
      ],
    );
    await assert.rejects(alice.call('ModifyLaunchTemplate', { LaunchTemplateId: id, DefaultVersion: '1' }), {
      code: 'InvalidLaunchTemplateId.VersionNotFound',
    });
    await assert.rejects(alice.call('ModifyLaunchTemplate', { LaunchTemplateId: id }), {
      code: 'MissingParameter',
    });
  });

  it('forget a token after a day, as EC2 does, and keep one of today', async () => {
    const { db } = region.region;
    for (const ClientToken of ['of-yesterday', 'of-today'])
      await alice.call('CreateLaunchTemplate', {
        ...{ LaunchTemplateName: ClientToken, LaunchTemplateData: {}, ClientToken },
      });
    await sql`update client_token set created_at = now() - interval '26 hours' where token = 'of-yesterday'`.execute(
      db,
    );
    await region.region.sweeper.turn();
    const left = await db.selectFrom('client_token').select('token').where('token', 'like', 'of-%').execute();
    assert.deepEqual(left, [{ token: 'of-today' }]);
  });

  it('are made once by one token, and each version too', async () => {
    const input = { LaunchTemplateName: 'once-only', LaunchTemplateData: {}, ClientToken: 'token' };
    const twice = await Promise.all([
      alice.call('CreateLaunchTemplate', input),
      alice.call('CreateLaunchTemplate', input),
    ]);
    const [id = '', other] = twice.map((one) => one.LaunchTemplate?.LaunchTemplateId);
    assert.equal(id, other);
    await assert.rejects(alice.call('CreateLaunchTemplate', { ...input, VersionDescription: 'other' }), {
      code: 'IdempotentParameterMismatch',
    });
    const more = { ClientToken: 'version' };
    const [one, two] = await Promise.all([
      addVersion(id, { KeyName: 'k' }, more),
      addVersion(id, { KeyName: 'k' }, more),
    ]);
    assert.deepEqual([one?.VersionNumber, two?.VersionNumber], [2, 2]);
    assert.equal((await addVersion(id, {}))?.VersionNumber, 3);
  });

  it('refuse what EC2 refuses', async () => {
    const { id, name } = await make();
    for (const LaunchTemplateName of ['ab', 'a b c', 'x'.repeat(129), 'é'.repeat(5), ''])
      await assert.rejects(
        alice.call('CreateLaunchTemplate', { LaunchTemplateName, LaunchTemplateData: {} }),
        { code: 'InvalidLaunchTemplateName.MalformedException' },
        LaunchTemplateName,
      );
    await assert.rejects(
      alice.call('CreateLaunchTemplate', { LaunchTemplateName: name, LaunchTemplateData: {} }),
      {
        code: 'InvalidLaunchTemplateName.AlreadyExistsException',
      },
    );
    const big = { UserData: Buffer.alloc(16 * 1024 + 1).toString('base64') };
    await assert.rejects(addVersion(id, big), { code: 'InvalidParameterValue' });
    const wide = {
      TagSpecifications: Array.from({ length: 900 }, () => ({ Tags: [{ Key: 'x'.repeat(100) }] })),
    };
    await assert.rejects(addVersion(id, wide), { code: 'InvalidParameterValue' });
    const needed = {
      DeleteLaunchTemplate: {},
      ModifyLaunchTemplate: { DefaultVersion: '1' },
      DescribeLaunchTemplateVersions: { Versions: ['1'] },
    };
    for (const action of Object.keys(needed) as (keyof typeof needed)[]) {
      const call = (input: object, client = alice) => client.call(action, { ...needed[action], ...input });
      await assert.rejects(call({ LaunchTemplateId: id, LaunchTemplateName: name }), {
        code: 'InvalidParameterCombination',
      });
      await assert.rejects(call({}), { code: 'MissingParameter' }, action);
      await assert.rejects(call({ LaunchTemplateId: 'i-1' }), { code: 'InvalidLaunchTemplateId.Malformed' });
      await assert.rejects(call({ LaunchTemplateId: 'lt-12345678' }), {
        code: 'InvalidLaunchTemplateId.NotFound',
      });
      await assert.rejects(call({ LaunchTemplateName: 'absent' }), {
        code: 'InvalidLaunchTemplateName.NotFoundException',
      });
      await assert.rejects(call({ LaunchTemplateId: id }, mallory), {
        code: 'InvalidLaunchTemplateId.NotFound',
      });
      await assert.rejects(call({ LaunchTemplateName: name }, mallory), {
        code: 'InvalidLaunchTemplateName.NotFoundException',
      });
    }
    await assert.rejects(alice.call('DescribeLaunchTemplates', { LaunchTemplateNames: ['absent'] }), {
      code: 'InvalidLaunchTemplateName.NotFoundException',
    });
    const { LaunchTemplate: gone } = await alice.call('DeleteLaunchTemplate', { LaunchTemplateName: name });
    assert.equal(gone?.LaunchTemplateId, id);
    await assert.rejects(alice.call('DescribeLaunchTemplates', { LaunchTemplateIds: [id] }), {
      code: 'InvalidLaunchTemplateId.NotFound',
    });
  });
});
