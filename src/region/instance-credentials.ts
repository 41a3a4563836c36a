/**
 * Temporary credentials of instances. Nothing is stored: id and secret of a key, and the seal of its token, are HMACs of (profile, instance,
 * expiry) under a key of the region, and the token tells these three. So whoever presents a token is checked without a row per key.
 *
 * They end at the latest an hour after they were made. Before that they end with their profile or their instance, as soon as routers
 * ask again (`keyTtlMs`). Taking a profile from an instance ends what it has been given no earlier than its hour, as at EC2.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { TemporaryCredentials } from '#contracts/metadata.ts';
import type { ProfilePolicy } from '#contracts/profiles.ts';
import { signingKeysAt } from './accounts.ts';
import { profileInUse } from './instance-profiles.ts';
import type { Region } from './region.ts';
import type { Sealer } from './secrets.ts';

export const credentialsLifetimeMs = 3_600_000;
const sealBytes = 32;
const secretChars = 40;
const idChars = 16;
const base32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** What a token says, and what all of a key derives from. */
export interface CredentialClaims {
  readonly profileId: string;
  readonly instanceId: string;
  /** Seconds since 1970. */
  readonly expiresAtSeconds: number;
}

type Derive = Pick<Sealer, 'derive'>;

const hmac = (sealer: Derive, purpose: string, text: string): Buffer =>
  createHmac('sha256', sealer.derive('instance-credentials')).update(`${purpose}\n${text}`).digest();

const textOf = ({ profileId, instanceId, expiresAtSeconds }: CredentialClaims): string =>
  `${profileId}/${instanceId}/${expiresAtSeconds}`;

const accessKeyIdOf = (sealer: Derive, text: string): string =>
  `ASIA${[...hmac(sealer, 'id', text).subarray(0, idChars)].map((byte) => base32[byte % base32.length]).join('')}`;

/** The whole of the credentials, the same for the same claims. */
export const derivedCredentials = (sealer: Derive, claims: CredentialClaims) => {
  const text = textOf(claims);
  return {
    accessKeyId: accessKeyIdOf(sealer, text),
    secretAccessKey: hmac(sealer, 'secret', text).toString('base64').slice(0, secretChars),
    token: Buffer.concat([hmac(sealer, 'token', text), Buffer.from(text)]).toString('base64'),
  };
};

/** What a token of the region says that came with this key; undefined: it is no token of the region, or of another key. */
export const readSessionToken = (
  sealer: Derive,
  accessKeyId: string,
  token: string,
): CredentialClaims | undefined => {
  const bytes = Buffer.from(token, 'base64');
  if (bytes.length <= sealBytes || bytes.toString('base64') !== token) return undefined;
  const text = bytes.subarray(sealBytes).toString();
  if (!timingSafeEqual(bytes.subarray(0, sealBytes), hmac(sealer, 'token', text))) return undefined;
  if (accessKeyIdOf(sealer, text) !== accessKeyId) return undefined;
  const [profileId = '', instanceId = '', expiry] = text.split('/');
  return { profileId, instanceId, expiresAtSeconds: Number(expiry) };
};

/** Credentials of an instance; undefined: there is no such profile in its account (any more). */
export const issueCredentials = async (
  region: Region,
  profileId: string,
  instanceId: string,
): Promise<TemporaryCredentials | undefined> => {
  if ((await profileInUse(region.db, profileId, instanceId)) === undefined) return undefined;
  const nowMs = Date.now();
  const expiresAtSeconds = Math.floor((nowMs + credentialsLifetimeMs) / 1000);
  return {
    ...derivedCredentials(region.sealer, { profileId, instanceId, expiresAtSeconds }),
    lastUpdated: isoSeconds(nowMs),
    expiration: isoSeconds(expiresAtSeconds * 1000),
  };
};

const isoSeconds = (timeMs: number): string => `${new Date(timeMs).toISOString().slice(0, 19)}Z`;

/** A temporary key as a router checks signatures with it. One that has expired is found: the client is told that it has. */
export const findTemporaryKey = async (
  region: Region,
  {
    accessKeyId,
    sessionToken,
    signingKeys,
  }: { accessKeyId: string; sessionToken: string; signingKeys?: true | undefined },
) => {
  const claims = readSessionToken(region.sealer, accessKeyId, sessionToken);
  const profile = claims && (await profileInUse(region.db, claims.profileId, claims.instanceId));
  if (claims === undefined || profile === undefined) return { found: false };
  const { secretAccessKey: secret } = derivedCredentials(region.sealer, claims);
  return {
    found: true,
    ...(signingKeys === true
      ? { signingKeys: signingKeysAt(Date.now(), region.config.regionName, secret) }
      : { secret }),
    accountId: profile.accountId,
    // The profile is its own role: it has one id, under IAM's prefix for each.
    arn: `arn:aws:sts::${profile.accountId}:assumed-role/${profile.name}/${claims.instanceId}`,
    userId: `${profile.profileId.replace(/^AIPA/, 'AROA')}:${claims.instanceId}`,
    expiresAt: new Date(claims.expiresAtSeconds * 1000).toISOString(),
    policy: profile.policy satisfies ProfilePolicy,
  };
};
