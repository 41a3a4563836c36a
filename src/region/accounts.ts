/** Accounts and their access keys. */
import { randomBytes, randomInt } from 'node:crypto';
import { transact, violatedConstraint } from '#base/postgres/transaction.ts';
import { PandoError } from '#contracts/errors.ts';
import type { SigningKeyRecord } from '#contracts/region.ts';
import { deriveSigningKey } from '#wire/sigv4/dayKeys.ts';
import { insertDefaultVpc } from './default-vpc.ts';
import type { Region } from './region.ts';
import type { RegionTransaction } from './schema.ts';

/** Owns the public images. Nobody has its keys. */
export const systemAccountId = '000000000000';

const nameCharsMax = 128;
const dayMs = 86_400_000;
/** A presigned request is good for a week. */
const signingDaysBehind = 7;
/** So that a router which cannot ask goes on checking signatures over midnight (static stability). */
const signingDaysAhead = 1;
const signedServices = ['ec2', 'sts'];
const base32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

export interface NewAccount {
  readonly accountId: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export const newAccessKey = () => ({
  accessKeyId: `AKIA${Array.from({ length: 16 }, () => base32[randomInt(base32.length)]).join('')}`,
  secretAccessKey: randomBytes(30).toString('base64'),
});

/** Makes an account with an access key and a default VPC. The secret is told here once; the table has it sealed. */
export const createAccount = async (region: Region, name: string): Promise<NewAccount> => {
  if (name === '' || name.length > nameCharsMax)
    throw new PandoError('InvalidParameterValue', `An account's name has 1 to ${nameCharsMax} characters.`);
  const accountId = Array.from({ length: 12 }, (_, at) => randomInt(at === 0 ? 1 : 0, 10)).join('');
  const key = newAccessKey();
  await transact(region.db, async (tx) => {
    await tx.insertInto('account').values({ account_id: accountId, name }).execute();
    await tx
      .insertInto('access_key')
      .values({
        access_key_id: key.accessKeyId,
        account_id: accountId,
        user_id: accountId,
        arn: `arn:aws:iam::${accountId}:root`,
        sealed_secret: region.sealer.seal(key.secretAccessKey, key.accessKeyId),
      })
      .execute();
    await insertDefaultVpc(tx, accountId, region.config.zones, region.network.domainName);
  }).catch((error: unknown) => {
    if (violatedConstraint(error) === 'account_name_key')
      throw new PandoError('ResourceAlreadyExists', `There is an account named "${name}" already.`);
    throw error;
  });
  return { accountId, ...key };
};

/** A key for each day on which a request that is valid at `nowMs`, or before the end of tomorrow, may have been signed. Pure. */
export const signingKeysAt = (nowMs: number, region: string, secret: string): SigningKeyRecord[] =>
  Array.from({ length: signingDaysBehind + 1 + signingDaysAhead }, (_, at) => {
    const when = new Date(nowMs + (at - signingDaysBehind) * dayMs);
    return when.toISOString().slice(0, 10).replaceAll('-', '');
  }).flatMap((day) =>
    signedServices.map((service) => ({
      ...{ day, region, service },
      key: deriveSigningKey({ day, region, service }, secret).toString('base64'),
    })),
  );

/** The account that owns public images, made on first use. */
export const ensureSystemAccount = async (tx: RegionTransaction): Promise<void> => {
  await tx
    .insertInto('account')
    .values({ account_id: systemAccountId, name: 'pando' })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
};

/**
 * What signatures of an access key are checked with, and its owner, for routers. A router of the last release, which does not ask for
 * `signingKeys`, is given the secret.
 */
export const findAccessKey = async (
  region: Region,
  { accessKeyId, signingKeys }: { accessKeyId: string; signingKeys?: true | undefined },
) => {
  const row = await region.db
    .selectFrom('access_key')
    .selectAll()
    .where('access_key_id', '=', accessKeyId)
    .executeTakeFirst();
  if (row === undefined) return { found: false };
  const secret = region.sealer.open(row.sealed_secret, row.access_key_id);
  return {
    found: true,
    ...(signingKeys === true
      ? { signingKeys: signingKeysAt(Date.now(), region.config.regionName, secret) }
      : { secret }),
    accountId: row.account_id,
    arn: row.arn,
    userId: row.user_id,
  };
};
