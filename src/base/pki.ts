/** Certificates: one authority per installation or cell, short-lived process certificates with a `spiffe://` identity. */
import { randomBytes, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import type { TlsMaterial } from './identity.ts';

x509.cryptoProvider.set(globalThis.crypto);

export const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const authorityDays = 3650;
const clockSkewMs = 5 * 60_000;
const dayMs = 86_400_000;
export const certificateLifetimeMsDefault = 30 * dayMs;

/** An authority's certificate and private key, PEM. */
export interface Authority {
  readonly cert: string;
  readonly key: string;
}

/** A private key as PEM. */
export const pem = async (key: webcrypto.CryptoKey): Promise<string> =>
  x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');

export const newKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>;

/**
 * Creates an authority. Its whole name has a part that no process's certificate has, and one that is drawn: a certificate that
 * is named like its issuer would be taken for self-signed, and one of two authorities with one name for the other.
 */
export const createAuthority = async (name: string, days = authorityDays): Promise<Authority> => {
  const keys = await newKeys();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ OU: [`Pando authority ${randomBytes(8).toString('hex')}`] }, { CN: [name] }],
    keys,
    notBefore: new Date(Date.now() - clockSkewMs),
    notAfter: new Date(Date.now() + days * dayMs),
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  return { cert: cert.toString('pem'), key: await pem(keys.privateKey) };
};

/**
 * Issues a certificate for `identity` (`spiffe://pando/<role>/<cell>/<name>`). Throws where the authority has the very name that the
 * certificate would have: TLS refuses such a one without saying why.
 */
export const issueCertificate = async (
  authority: Authority,
  identity: string,
  lifetimeMs = certificateLifetimeMsDefault,
  dnsNames: readonly string[] = [],
): Promise<TlsMaterial> => {
  const keys = await newKeys();
  const cert = await certify(authority, identity, keys.publicKey, lifetimeMs, dnsNames);
  return { ca: authority.cert, cert, key: await pem(keys.privateKey) };
};

/**
 * The certificate (PEM) of `identity` for a key whose private part is somebody else's. `dnsNames`: for peers that look for a host's name
 * (QEMU). Throws as {@link issueCertificate}.
 */
export const certify = async (
  authority: Authority,
  identity: string,
  publicKey: x509.PublicKeyType,
  lifetimeMs = certificateLifetimeMsDefault,
  dnsNames: readonly string[] = [],
): Promise<string> => {
  const issuer = new x509.X509Certificate(authority.cert);
  const subject = new x509.Name([{ CN: [identity.slice(identity.lastIndexOf('/') + 1)] }]).toString();
  if (subject === issuer.subject)
    throw new Error(
      `The authority is named ${subject}, as the certificate of ${identity} would be: make another.`,
    );
  const issuerKey = await webcrypto.subtle.importKey(
    'pkcs8',
    x509.PemConverter.decodeFirst(authority.key),
    algorithm,
    false,
    ['sign'],
  );
  const cert = await x509.X509CertificateGenerator.create({
    subject,
    issuer: issuer.subject,
    notBefore: new Date(Date.now() - clockSkewMs),
    notAfter: new Date(Date.now() + lifetimeMs),
    signingAlgorithm: algorithm,
    publicKey,
    signingKey: issuerKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.clientAuth,
        x509.ExtendedKeyUsage.serverAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: identity },
        ...dnsNames.map((value) => ({ type: 'dns', value }) as const),
      ]),
    ],
  });
  return cert.toString('pem');
};
