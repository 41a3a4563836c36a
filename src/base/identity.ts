/** Who a process is: the material of mutually authenticated TLS, and the identity inside a peer's certificate. */
import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

export { parseIdentity } from '#contracts/identity.ts';

/** What a process needs to speak mutually authenticated TLS. PEM texts. */
export interface TlsMaterial {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** The material as it is now, where files hold it that are renewed; absent: it stays what it is. */
  current?(): TlsMaterial;
}

/** What the next connection is to be made with. */
export const currentTls = (material: TlsMaterial): TlsMaterial => material.current?.() ?? material;

/** The `spiffe://` identity in the peer's verified certificate, if it has exactly one. */
export const identityOf = (socket: TLSSocket): string | undefined =>
  identityIn(socket.getPeerCertificate().subjectaltname);

/** The `spiffe://` identity among a certificate's alternative names, if it has exactly one. */
export const identityIn = (alternativeNames: string | undefined): string | undefined => {
  const names = alternativeNames?.split(', ') ?? [];
  const identities = names
    .filter((name) => name.startsWith('URI:spiffe://'))
    .map((name) => name.slice('URI:'.length));
  return identities.length === 1 ? identities[0] : undefined;
};

/** The identity of the certificate that a process itself presents. */
export const ownIdentity = (material: TlsMaterial): string | undefined =>
  identityIn(new X509Certificate(currentTls(material).cert).subjectAltName);
