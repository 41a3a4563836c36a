/**
 * What two VMMs prove themselves with while a guest moves between them (mutual TLS, QEMU's own). A VMM faces a tenant, so it never
 * gets its host's key: each side makes an authority and a key for this one migration, trusts the other side's authority alone, and
 * forgets both with it. The agents vouch for them: each signs its side's certificate with its own key, and checks that the other's
 * signer is an agent of Pando's authority. So what carries them (the cell) cannot put itself between.
 */
import { createPublicKey, sign, verify, X509Certificate } from 'node:crypto';
import { currentTls, identityIn, parseIdentity, type TlsMaterial } from '#base/identity.ts';
import { PandoError } from '#contracts/errors.ts';
import type { MigrationCredential } from '#contracts/host.ts';

export type Side = 'source' | 'target';

export interface OwnCredential {
  /** What the VMM presents, and its key. Never written to a log, a record or the cell. */
  readonly cert: string;
  readonly key: string;
  /** What the other side is given. */
  readonly shown: MigrationCredential;
}

const days = 1;
const lifetimeMs = days * 86_400_000;

/** The common name of both VMMs: which guest it is that they move. */
export const commonName = (instanceId: string): string => instanceId;

const statement = (instanceId: string, side: Side, certificate: string): Buffer =>
  Buffer.from(`pando migration\n${instanceId}\n${side}\n${certificate}`);

/** Signed by the agent's certificate as it is now: the one that it began with has ended after a month. */
export const makeCredential = async (
  material: TlsMaterial,
  instanceId: string,
  side: Side,
): Promise<OwnCredential> => {
  const agent = currentTls(material);
  // Loaded by the first migration of a process: what makes certificates takes some MiB.
  const { createAuthority, issueCertificate } = await import('#base/pki.ts');
  const authority = await createAuthority(`${side} of ${instanceId}`, days);
  const identity = `spiffe://pando/vmm/${commonName(instanceId)}`;
  // The other VMM looks for this name. GnuTLS takes no common name for it beside alternative names (since Debian's 3.7.9-2+deb12u7).
  const { cert, key } = await issueCertificate(authority, identity, lifetimeMs, [commonName(instanceId)]);
  const signature = sign('sha256', statement(instanceId, side, authority.cert), agent.key).toString('base64');
  return { cert, key, shown: { certificate: authority.cert, agent: agent.cert, signature } };
};

const certificatesOf = (pem: string): X509Certificate[] =>
  (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (text) => new X509Certificate(text),
  );

const isIssuedBy = (certificate: X509Certificate, authorities: string): boolean =>
  certificatesOf(authorities).some(
    (authority) => certificate.checkIssued(authority) && certificate.verify(authority.publicKey),
  );

const isValidNow = ({ validFromDate, validToDate }: X509Certificate): boolean => {
  const now = new Date();
  return validFromDate <= now && now < validToDate;
};

/** Why these are not the words of an agent of this authority about that side; undefined: they are. */
const refusal = (
  authorities: string,
  instanceId: string,
  side: Side,
  { certificate, agent, signature }: MigrationCredential,
  cell: string | undefined,
): string | undefined => {
  const signer = new X509Certificate(agent);
  if (!isIssuedBy(signer, authorities)) return 'its signer is not of this authority';
  if (!isValidNow(signer)) return "its signer's certificate is not valid now";
  const identity = parseIdentity(identityIn(signer.subjectAltName) ?? '');
  if (identity?.role !== 'agent') return 'its signer is not an agent';
  // VMs move within their cell. An identity of the last release names none.
  if (cell !== undefined && identity.cell !== undefined && identity.cell !== cell)
    return 'its signer is an agent of another cell';
  const words = statement(instanceId, side, certificate);
  if (!verify('sha256', words, createPublicKey(agent), Buffer.from(signature, 'base64')))
    return 'its signature is wrong';
  return undefined;
};

/** Throws `AccessDenied` unless an agent of this authority, and of `cell`, vouches for the other side. */
export const checkCredential = (
  authorities: string,
  instanceId: string,
  side: Side,
  credential: MigrationCredential,
  cell?: string,
): void => {
  let reason: string | undefined;
  try {
    reason = refusal(authorities, instanceId, side, credential, cell);
  } catch {
    reason = 'it cannot be read';
  }
  if (reason !== undefined)
    throw new PandoError('AccessDenied', `The credential of the ${side} of ${instanceId}: ${reason}.`);
};
