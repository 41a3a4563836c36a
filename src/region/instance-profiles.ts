/**
 * Instance profiles of accounts, made by the operator. A profile is its own role: instances that run with it get credentials of the
 * account that may read, or do everything.
 */
import { randomInt } from 'node:crypto';
import { sql } from 'kysely';
import { transact } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import type { ProfilePolicy } from '#contracts/profiles.ts';
import type { Region } from './region.ts';
import type { Database } from './schema.ts';

/** IAM's quota of an account. */
const profilesPerAccountMax = 1_000;
const base32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const idRandomChars = 17;
const namePattern = /^[\w+=,.@-]{1,128}$/;
const shownCharsMax = 128;

export interface InstanceProfile {
  readonly accountId: string;
  readonly profileId: string;
  readonly name: string;
  readonly arn: string;
  readonly policy: ProfilePolicy;
}

interface ProfileRow {
  readonly profile_id: string;
  readonly account_id: string;
  readonly name: string;
  readonly policy: ProfilePolicy;
}

const profileOf = (row: ProfileRow): InstanceProfile => ({
  accountId: row.account_id,
  profileId: row.profile_id,
  name: row.name,
  arn: `arn:aws:iam::${row.account_id}:instance-profile/${row.name}`,
  policy: row.policy,
});

const newProfileId = (): string =>
  `AIPA${Array.from({ length: idRandomChars }, () => base32[randomInt(base32.length)]).join('')}`;

/** @throws InvalidParameterValue (name, no such account), ResourceAlreadyExists, ResourceLimitExceeded */
export const createProfile = async (
  region: Region,
  { accountId, name, policy }: { accountId: string; name: string; policy: ProfilePolicy },
): Promise<InstanceProfile> => {
  if (!namePattern.test(name))
    throw new PandoError(
      'InvalidParameterValue',
      'The name of a profile has 1 to 128 characters, letters, digits and _+=,.@- alone.',
    );
  return transact(region.db, async (tx) => {
    // The account's row is locked, so that two requests cannot both make its last profile.
    const { rows: accounts } = await sql`
      select 1 from account where account_id = ${accountId} for no key update`.execute(tx);
    if (accounts.length === 0)
      throw new PandoError(
        'InvalidParameterValue',
        `There is no account ${accountId.slice(0, shownCharsMax)}.`,
      );
    const { rows: counts } = await sql<{ n: number }>`
      select count(*)::int as n from instance_profile where account_id = ${accountId}`.execute(tx);
    if ((counts[0]?.n ?? 0) >= profilesPerAccountMax)
      throw new PandoError(
        'ResourceLimitExceeded',
        `The account has ${profilesPerAccountMax} profiles already: delete one first.`,
      );
    const { rows } = await sql<ProfileRow>`
      insert into instance_profile (profile_id, account_id, name, policy)
      values (${newProfileId()}, ${accountId}, ${name}, ${policy})
      on conflict (account_id, name) do nothing returning *`.execute(tx);
    const [made] = rows;
    if (made === undefined)
      throw new PandoError('ResourceAlreadyExists', `The account has a profile named "${name}" already.`);
    return profileOf(made);
  });
};

/** All of an account, or of all accounts. */
export const listProfiles = async (region: Region, accountId?: string): Promise<InstanceProfile[]> => {
  const { rows } = await sql<ProfileRow>`
    select * from instance_profile where ${accountId ?? null}::text is null or account_id = ${accountId ?? null}
    order by account_id, name`.execute(region.db);
  return rows.map(profileOf);
};

/** Its credentials are worth nothing from now on, once routers ask again. @throws InvalidParameterValue: there is none */
export const deleteProfile = async (region: Region, accountId: string, name: string): Promise<void> => {
  const { rows } = await sql`
    delete from instance_profile where account_id = ${accountId} and name = ${name} returning 1`.execute(
    region.db,
  );
  if (rows.length === 0)
    throw new PandoError(
      'InvalidParameterValue',
      `The account ${accountId.slice(0, shownCharsMax)} has no profile named "${name.slice(0, shownCharsMax)}".`,
    );
};

/** By its name or its ARN, of this account alone. @throws InvalidParameterValue in EC2's words */
export const resolveProfile = async (
  db: Database,
  accountId: string,
  { name, arn }: { name?: string | undefined; arn?: string | undefined },
): Promise<InstanceProfile> => {
  const { rows } = await sql<ProfileRow>`
    select * from instance_profile where account_id = ${accountId}
      and name = ${name ?? nameIn(arn ?? '', accountId)}`.execute(db);
  const [row] = rows;
  if (row !== undefined) return profileOf(row);
  const [parameter, words] = name === undefined ? ['arn', 'ARN'] : ['name', 'name'];
  throw new PandoError(
    'InvalidParameterValue',
    `Value (${(name ?? arn ?? '').slice(0, shownCharsMax)}) for parameter iamInstanceProfile.${parameter} is invalid. Invalid IAM Instance Profile ${words}`,
  );
};

/** An ARN of another account names none of this one. */
const nameIn = (arn: string, accountId: string): string => {
  const prefix = `arn:aws:iam::${accountId}:instance-profile/`;
  return arn.startsWith(prefix) ? arn.slice(prefix.length) : '';
};

/** A profile that is there, and whether the account still has the instance. */
export const profileInUse = async (
  db: Database,
  profileId: string,
  instanceId: string,
): Promise<InstanceProfile | undefined> => {
  const { rows } = await sql<ProfileRow>`
    select p.* from instance_profile p join eni on eni.account_id = p.account_id
    where p.profile_id = ${profileId} and eni.instance_id = ${instanceId}`.execute(db);
  return rows[0] && profileOf(rows[0]);
};
