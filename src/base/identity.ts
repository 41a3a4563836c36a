/** Who a process is: the material of mutually authenticated TLS, and the identity inside a peer's certificate. */
import type { TLSSocket } from 'node:tls';

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

/** Role and name of a `spiffe://pando/<role>/<name>` identity. */
export const parseIdentity = (identity: string): { role: string; name: string } | undefined => {
  const match = /^spiffe:\/\/pando\/([a-z]+)\/([A-Za-z0-9._-]+)$/.exec(identity);
  return match?.[1] && match[2] ? { role: match[1], name: match[2] } : undefined;
};
