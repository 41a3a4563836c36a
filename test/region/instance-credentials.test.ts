/** Temporary credentials: what derives from what, and that nothing that is changed passes for them. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { newCellId } from '#contracts/ids.ts';
import {
  type CredentialClaims,
  credentialsLifetimeMs,
  derivedCredentials,
  findTemporaryKey,
  issueCredentials,
  readSessionToken,
} from '#region/instance-credentials.ts';
import { createProfile, deleteProfile, listProfiles, resolveProfile } from '#region/instance-profiles.ts';
import { allocateInterface, releaseInterface } from '#region/interfaces.ts';
import { type Client, cellNumber, startTestRegion, type TestRegion } from './test-region.ts';

const sealerOf = (key: string) => ({ derive: (purpose: string) => `${key}/${purpose}` });
const sealer = sealerOf('own');

const claimsOf: fc.Arbitrary<CredentialClaims> = fc.record(
  {
    profileId: fc.stringMatching(/^AIPA[A-Z2-7]{17}$/),
    instanceId: fc.stringMatching(/^i-[0-9a-f]{17}$/),
    expiresAtSeconds: fc.integer({ min: 1_700_000_000, max: 4_000_000_000 }),
  },
  { noNullPrototype: true },
);

describe('the token of a temporary key', () => {
  it('tells what it was made of, with its own key and to its own region alone', () => {
    fc.assert(
      fc.property(claimsOf, claimsOf, (claims, others) => {
        const { accessKeyId, secretAccessKey, token } = derivedCredentials(sealer, claims);
        assert.match(accessKeyId, /^ASIA[A-Z2-7]{16}$/);
        assert.match(secretAccessKey, /^[A-Za-z0-9+/]{40}$/);
        assert.deepEqual(readSessionToken(sealer, accessKeyId, token), claims);
        assert.equal(readSessionToken(sealerOf('another'), accessKeyId, token), undefined);
        const other = derivedCredentials(sealer, others);
        if (other.token !== token) {
          assert.equal(readSessionToken(sealer, other.accessKeyId, token), undefined);
          assert.notEqual(other.secretAccessKey, secretAccessKey);
        }
      }),
    );
  });

  it('is nothing once a bit of it is changed, and whatever else is given is nothing', () => {
    fc.assert(
      fc.property(claimsOf, fc.nat(), fc.string({ maxLength: 2_048 }), (claims, at, text) => {
        const { accessKeyId, token } = derivedCredentials(sealer, claims);
        const bytes = Buffer.from(token, 'base64');
        const place = at % bytes.length;
        bytes.writeUInt8(bytes.readUInt8(place) ^ 1, place);
        assert.equal(readSessionToken(sealer, accessKeyId, bytes.toString('base64')), undefined);
        assert.equal(readSessionToken(sealer, accessKeyId, text), undefined);
        // Base64 has many spellings of the same bytes: one alone is the token.
        assert.equal(readSessionToken(sealer, accessKeyId, ` ${token}`), undefined);
        assert.equal(readSessionToken(sealer, accessKeyId, `${token}=`), undefined);
      }),
    );
  });
});

describe('instance profiles', () => {
  let test: TestRegion;
  let alice: Client;
  let bob: Client;
  before(async () => {
    test = await startTestRegion();
    alice = await test.account();
    bob = await test.account();
  });
  after(() => test.stop());

  it('are made, listed and deleted, each name once in its account', async () => {
    const { region } = test;
    const make = (name: string, accountId = alice.accountId) =>
      createProfile(region, { accountId, name, policy: 'read-only' });
    const made = await make('web');
    assert.equal(made.arn, `arn:aws:iam::${alice.accountId}:instance-profile/web`);
    assert.match(made.profileId, /^AIPA[A-Z2-7]{17}$/);
    await assert.rejects(make('web'), { code: 'ResourceAlreadyExists' });
    const other = await make('web', bob.accountId);
    for (const name of ['', 'a b', 'a/b', 'x'.repeat(129)])
      await assert.rejects(make(name), { code: 'InvalidParameterValue' });
    await assert.rejects(make('web', '999999999999'), { code: 'InvalidParameterValue' });
    assert.deepEqual(await listProfiles(region, alice.accountId), [made]);
    assert.equal((await listProfiles(region)).length, 2);
    await deleteProfile(region, alice.accountId, 'web');
    await assert.rejects(deleteProfile(region, alice.accountId, 'web'), { code: 'InvalidParameterValue' });
    assert.deepEqual(await listProfiles(region), [other]);
  });

  it('are found by the name or the ARN of their own account, or EC2’s error names the parameter', async () => {
    const { db } = test.region;
    const { arn } = await createProfile(test.region, {
      accountId: alice.accountId,
      name: 'found',
      policy: 'full',
    });
    for (const by of [{ name: 'found' }, { arn }])
      assert.equal((await resolveProfile(db, alice.accountId, by)).arn, arn);
    const invalid = (value: string, parameter: string, words: string) => ({
      code: 'InvalidParameterValue',
      message: `Value (${value}) for parameter iamInstanceProfile.${parameter} is invalid. Invalid IAM Instance Profile ${words}`,
    });
    await assert.rejects(
      resolveProfile(db, bob.accountId, { name: 'found' }),
      invalid('found', 'name', 'name'),
    );
    await assert.rejects(resolveProfile(db, bob.accountId, { arn }), invalid(arn, 'arn', 'ARN'));
    await assert.rejects(resolveProfile(db, alice.accountId, { arn: 'x' }), invalid('x', 'arn', 'ARN'));
  });

  it('give credentials to instances of their account while both are there', async () => {
    const { region } = test;
    const { profileId } = await createProfile(region, {
      accountId: alice.accountId,
      name: 'giving',
      policy: 'read-only',
    });
    const { instanceId } = await alice.launch();
    const foreign = await bob.launch();
    assert.equal(await issueCredentials(region, profileId, foreign.instanceId), undefined);
    assert.equal(
      await issueCredentials(region, profileId, newCellId('instance', cellNumber)),
      undefined,
      'of an instance that is not there',
    );
    const given = await issueCredentials(region, profileId, instanceId);
    assert.ok(given !== undefined);
    const lifetimeMs = Date.parse(given.expiration) - Date.parse(given.lastUpdated);
    assert.ok(Math.abs(lifetimeMs - credentialsLifetimeMs) <= 1_000);
    const question = {
      accessKeyId: given.accessKeyId,
      sessionToken: given.token,
      signingKeys: true as const,
    };
    const found = await findTemporaryKey(region, question);
    assert.equal(found.found, true);
    assert.ok(!('secret' in found), 'a router gets keys of days, never the secret');
    assert.deepEqual('arn' in found && [found.accountId, found.arn, found.policy, found.expiresAt], [
      alice.accountId,
      `arn:aws:sts::${alice.accountId}:assumed-role/giving/${instanceId}`,
      'read-only',
      new Date(given.expiration).toISOString(),
    ]);
    // With the interface goes the proof that the account has the instance.
    await releaseInterface(region, instanceId);
    assert.deepEqual(await findTemporaryKey(region, question), { found: false });
    assert.equal(await issueCredentials(region, profileId, instanceId), undefined);
  });

  it('come with the interface where a cell asks for them, and not where it does not', async () => {
    const { region } = test;
    const { profileId } = await createProfile(region, {
      accountId: alice.accountId,
      name: 'with-interface',
      policy: 'full',
    });
    const { instanceId } = await alice.launch();
    const { Subnets: [subnet] = [] } = await alice.call('DescribeSubnets', {});
    const asked = {
      ...{ accountId: alice.accountId, instanceId, subnetId: subnet?.SubnetId ?? '' },
      ...{ groupIds: [], publicIp: false },
    };
    assert.equal((await allocateInterface(region, asked)).credentials, undefined);
    const { credentials } = await allocateInterface(region, { ...asked, instanceProfileId: profileId });
    assert.match(credentials?.accessKeyId ?? '', /^ASIA/);
    await deleteProfile(region, alice.accountId, 'with-interface');
    const gone = await allocateInterface(region, { ...asked, instanceProfileId: profileId });
    assert.equal(gone.credentials, undefined);
  });
});
