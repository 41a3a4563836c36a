/** The run's certificates as files: one authority, one certificate a process. Kept as long as they last, then made anew. */
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Authority, createAuthority, issueCertificate } from '#base/pki.ts';

export type Role = 'router' | 'region' | 'cell' | 'agent' | 'card' | 'gateway' | 'operator';

/** Paths of PEM files, as a process's configuration has them. */
export interface TlsPaths {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Nothing renews a certificate between two runs of `up`, so it lasts for long, and `up` renews it long before its end. */
const certificateDays = 365;
const renewBeforeMs = 60 * 86_400_000;

export const identityOf = (role: Role, name: string): string => `spiffe://pando/${role}/${name}`;

const save = (path: string, text: string): void => writeFileSync(path, text, { mode: 0o600 });

const lasts = (path: string): boolean =>
  existsSync(path) &&
  Date.parse(new X509Certificate(readFileSync(path)).validTo) - Date.now() > renewBeforeMs;

/** The certificates of one run, in `directory`. */
export class PkiFiles {
  readonly #directory: string;
  readonly #authority: Authority;

  private constructor(directory: string, authority: Authority) {
    this.#directory = directory;
    this.#authority = authority;
  }

  /** Opens the run's authority, made at the first time. */
  static async open(directory: string, name: string): Promise<PkiFiles> {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const [certPath, keyPath] = [join(directory, 'ca.crt'), join(directory, 'ca.key')];
    if (!existsSync(certPath) || !existsSync(keyPath)) {
      const made = await createAuthority(name);
      save(keyPath, made.key);
      save(certPath, made.cert);
    }
    return new PkiFiles(directory, {
      cert: readFileSync(certPath, 'utf8'),
      key: readFileSync(keyPath, 'utf8'),
    });
  }

  /** The files of `spiffe://pando/<role>/<name>`. */
  async issue(role: Role, name: string): Promise<TlsPaths> {
    const stem = join(this.#directory, `${role}-${name}`);
    const paths = { ca: join(this.#directory, 'ca.crt'), cert: `${stem}.crt`, key: `${stem}.key` };
    if (lasts(paths.cert) && existsSync(paths.key)) return paths;
    const made = await issueCertificate(this.#authority, identityOf(role, name), certificateDays);
    save(paths.key, made.key);
    save(paths.cert, made.cert);
    return paths;
  }
}
