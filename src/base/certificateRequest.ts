/** A request for a certificate (PKCS #10), and the check that who asks has the key. */
import { sign, X509Certificate } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { type RenewalRequest, renewalStatement } from '#contracts/ca.ts';
import type { TlsMaterial } from './identity.ts';
import { algorithm, newKeys, pem } from './pki.ts';

export interface NewKey {
  /** PEM. Stays with who made it. */
  readonly key: string;
  readonly asked: RenewalRequest;
}

/** A new key, and what asks for a certificate of it in place of the present one. */
export const askAnew = async (present: TlsMaterial): Promise<NewKey> => {
  const keys = await newKeys();
  const made = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=renewal',
    keys,
    signingAlgorithm: algorithm,
  });
  const request = made.toString('pem');
  const signature = sign('sha256', Buffer.from(renewalStatement(request)), present.key).toString('base64');
  // Its file may contain the key too: only the certificate is shown.
  const certificate = new X509Certificate(present.cert).toString();
  return { key: await pem(keys.privateKey), asked: { certificate, request, signature } };
};

/** The public key of a request; undefined when who made it does not have the private one. Throws when it cannot be read. */
export const requestedKey = async (request: string): Promise<x509.PublicKey | undefined> => {
  const parsed = new x509.Pkcs10CertificateRequest(request);
  return (await parsed.verify()) ? parsed.publicKey : undefined;
};
