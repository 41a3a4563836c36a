/** Who gets a certificate: a process, for the identity that it can prove to have already, if that is one that this authority was told of. */
import { createPublicKey, verify, X509Certificate } from 'node:crypto';
import type { PublicKey } from '@peculiar/x509';
import { requestedKey } from '#base/certificateRequest.ts';
import { identityIn } from '#base/identity.ts';
import { type RenewalRequest, renewalStatement } from '#contracts/ca.ts';

/** It may not have one; the message says why. */
export class Refused extends Error {}

export interface Granted {
  readonly identity: string;
  readonly publicKey: PublicKey;
}

export interface Policy {
  /** The authority's own certificate, PEM. */
  readonly authority: string;
  readonly identities: ReadonlySet<string>;
}

const parsed = <T>(what: string, parse: () => T): T => {
  try {
    return parse();
  } catch {
    throw new Refused(`${what} cannot be read`);
  }
};

/** Throws {@link Refused}. */
export const grant = async (
  { authority, identities }: Policy,
  { certificate, request, signature }: RenewalRequest,
): Promise<Granted> => {
  const present = parsed('the certificate', () => new X509Certificate(certificate));
  const issuer = new X509Certificate(authority);
  if (!present.checkIssued(issuer) || !present.verify(issuer.publicKey))
    throw new Refused('the certificate is not of this authority');
  const now = new Date();
  if (now < present.validFromDate || now >= present.validToDate)
    throw new Refused('the certificate is not valid now: pando up issues another');
  const identity = identityIn(present.subjectAltName);
  if (identity === undefined || !identities.has(identity))
    throw new Refused(`${identity ?? 'nobody'} is not among those who get certificates here`);
  const statement = Buffer.from(renewalStatement(request));
  const key = createPublicKey(certificate);
  if (!verify('sha256', statement, key, Buffer.from(signature, 'base64')))
    throw new Refused('it is not signed with the key of the certificate');
  const publicKey = await requestedKey(request).catch(() => undefined);
  if (publicKey === undefined) throw new Refused('the request is not one, or not signed with its own key');
  return { identity, publicKey };
};
