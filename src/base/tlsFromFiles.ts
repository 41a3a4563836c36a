/** TLS material in files that are renewed while the process runs: read again when a connection is made after they changed. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { TlsPaths } from './config.ts';
import type { TlsMaterial } from './identity.ts';

/** Changes whenever one of the files is replaced or written. */
const versionOf = ({ ca, cert, key }: TlsPaths): string =>
  [ca, cert, key]
    .map((path) => {
      const { ino, mtimeNs, size } = statSync(path, { bigint: true });
      return `${ino}.${mtimeNs}.${size}`;
    })
    .join(' ');

/** The material as it is now. Throws when a file cannot be read. */
export const readTls = ({ ca, cert, key }: TlsPaths): TlsMaterial => ({
  ca: readFileSync(ca, 'utf8'),
  cert: readFileSync(cert, 'utf8'),
  key: readFileSync(key, 'utf8'),
});

/** Whether the key is the certificate's and the authority is its issuer: read between two renames, they would not be. */
export const belongTogether = ({ ca, cert, key }: TlsMaterial): boolean => {
  const [own, authority] = [new X509Certificate(cert), new X509Certificate(ca)];
  return own.checkPrivateKey(createPrivateKey(key)) && own.verify(authority.publicKey);
};

/**
 * Reads the PEM files into the material that TLS wants. Whoever connects or listens with it goes on with the renewed files by
 * itself (`current`); files that are missing or do not belong together are left for the next look. Throws when they cannot be
 * read at first.
 */
export const loadTls = (files: TlsPaths): TlsMaterial => {
  // The version is taken first: what is replaced meanwhile has another one, and is read at the next look.
  let version = versionOf(files);
  let material = readTls(files);
  const current = (): TlsMaterial => {
    try {
      const now = versionOf(files);
      if (now === version) return material;
      const fresh = readTls(files);
      if (!belongTogether(fresh)) return material;
      material = fresh;
      version = now;
    } catch {
      // They are being replaced, or were removed under a running process: what was read last goes on.
    }
    return material;
  };
  return { ...material, current };
};
