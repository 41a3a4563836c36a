/**
 * The key of the region that signs identity documents. Its private half lies sealed in the store, under the key file that seals access
 * keys, and is read by the region's process alone; the certificate is for everybody. A region that an older version brought up gets
 * its key at the first start of this one.
 */
import { createPrivateKey, type KeyObject, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { sql } from 'kysely';
import type { Logger } from '#base/log.ts';
import type { Database } from './schema.ts';
import type { Sealer } from './secrets.ts';

/** What openssl and every verifier of such documents know. */
const algorithm = {
  name: 'RSASSA-PKCS1-v1_5',
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: 'SHA-256',
} as const;
/** Verifiers pin the certificate: one that ran out would end them all on one day. */
const certificateDays = 30 * 365;
const dayMs = 86_400_000;
const clockSkewMs = 5 * 60_000;
/** What the sealed key is bound to. */
const sealedAs = 'identity-key';

export interface IdentityKey {
  readonly privateKey: KeyObject;
  /** PEM. */
  readonly certificate: string;
}

interface KeyRow {
  readonly certificate: string;
  readonly sealed_key: Buffer;
}

const readKey = async (db: Database): Promise<KeyRow | undefined> =>
  (await sql<KeyRow>`select certificate, sealed_key from identity_key`.execute(db)).rows[0];

const newKey = async (regionName: string): Promise<{ certificate: string; privatePem: string }> => {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [`instance-identity.${regionName}`] }],
    keys,
    notBefore: new Date(Date.now() - clockSkewMs),
    notAfter: new Date(Date.now() + certificateDays * dayMs),
    signingAlgorithm: algorithm,
    extensions: [new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true)],
  });
  const exported = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certificate: certificate.toString('pem'),
    privatePem: x509.PemConverter.encode(exported, 'PRIVATE KEY'),
  };
};

/**
 * The region's key, made if there is none. Of two that make one at the same time, one key stays. undefined: it is there and cannot
 * be opened (another key file than the one that sealed it); another is not made, for verifiers have its certificate.
 */
export const loadIdentityKey = async (
  db: Database,
  sealer: Sealer,
  regionName: string,
  log: Logger,
): Promise<IdentityKey | undefined> => {
  if ((await readKey(db)) === undefined) {
    const made = await newKey(regionName);
    await sql`insert into identity_key (certificate, sealed_key)
      values (${made.certificate}, ${sealer.seal(made.privatePem, sealedAs)}) on conflict do nothing`.execute(
      db,
    );
  }
  const row = await readKey(db);
  try {
    if (row === undefined) throw new Error('it has gone from the store');
    return {
      certificate: row.certificate,
      privateKey: createPrivateKey(sealer.open(row.sealed_key, sealedAs)),
    };
  } catch (error) {
    log.error(
      { err: error },
      'ALARM: the key that signs identity documents cannot be opened: documents are not signed until the key file that sealed it is back',
    );
    return undefined;
  }
};
