/**
 * The run's certificates as files: one authority, one certificate a process. A certificate and its key are one file, so that
 * no reader and no crash finds a pair that does not match. Renewed when a third of their life remains: by the supervisor while
 * it runs, by every `up` besides. Processes read them again by themselves (`loadTls`).
 */
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TlsPaths } from '#base/config.ts';
import { parseIdentity } from '#base/identity.ts';
import {
  type Authority,
  certificateLifetimeMsDefault,
  createAuthority,
  issueCertificate,
} from '#base/pki.ts';
import { belongTogether } from '#base/tlsFromFiles.ts';
import { writeAtomicallySync } from '#base/writeAtomically.ts';

export type Role = 'router' | 'region' | 'cell' | 'agent' | 'card' | 'gateway' | 'operator';

const pairEnding = '.pem';

export const identityOf = (role: Role, name: string): string => `spiffe://pando/${role}/${name}`;

/** The certificates of one run, in `directory`. */
export class PkiFiles {
  readonly #directory: string;
  readonly #authority: Authority;
  readonly #lifetimeMs: number;

  private constructor(directory: string, authority: Authority, lifetimeMs: number) {
    this.#directory = directory;
    this.#authority = authority;
    this.#lifetimeMs = lifetimeMs;
  }

  /** Opens the run's authority, made at the first time with `name` for people. */
  static async open(
    directory: string,
    name: string,
    lifetimeMs = certificateLifetimeMsDefault,
  ): Promise<PkiFiles> {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const [certPath, keyPath] = [join(directory, 'ca.crt'), join(directory, 'ca.key')];
    if (!existsSync(certPath) || !existsSync(keyPath)) {
      const made = await createAuthority(name);
      writeAtomicallySync(keyPath, made.key);
      writeAtomicallySync(certPath, made.cert);
    }
    const authority = { cert: readFileSync(certPath, 'utf8'), key: readFileSync(keyPath, 'utf8') };
    return new PkiFiles(directory, authority, lifetimeMs);
  }

  /** The files of `spiffe://pando/<role>/<name>`: those that stand while they last, else new ones. */
  async issue(role: Role, name: string): Promise<TlsPaths> {
    const pair = join(this.#directory, `${role}-${name}${pairEnding}`);
    const identity = identityOf(role, name);
    if (!this.#lasts(pair, identity)) await this.#make(pair, identity);
    return { ca: join(this.#directory, 'ca.crt'), cert: pair, key: pair };
  }

  /** Renews every certificate of which no more than a third of its life remains. Answers whose they were. */
  async renew(): Promise<string[]> {
    const renewed: string[] = [];
    for (const file of readdirSync(this.#directory).filter((name) => name.endsWith(pairEnding))) {
      const pair = join(this.#directory, file);
      const identity = identityIn(pair);
      if (identity === undefined || this.#lasts(pair, identity)) continue;
      await this.#make(pair, identity);
      renewed.push(identity);
    }
    return renewed;
  }

  async #make(pair: string, identity: string): Promise<void> {
    const { cert, key } = await issueCertificate(this.#authority, identity, this.#lifetimeMs);
    writeAtomicallySync(pair, `${key.trimEnd()}\n${cert.trimEnd()}\n`);
  }

  /** Whether the file is of this authority and identity, whole, and has more than a third of a life before it. */
  #lasts(pair: string, identity: string): boolean {
    try {
      const text = readFileSync(pair, 'utf8');
      const remainingMs = Date.parse(new X509Certificate(text).validTo) - Date.now();
      return (
        remainingMs > this.#lifetimeMs / 3 &&
        identityIn(pair) === identity &&
        belongTogether({ ca: this.#authority.cert, cert: text, key: text })
      );
    } catch {
      return false;
    }
  }
}

/** The identity that a certificate's file names; undefined when it is none. */
function identityIn(pair: string): string | undefined {
  try {
    const { subjectAltName = '' } = new X509Certificate(readFileSync(pair));
    const identity = subjectAltName.replace(/^URI:/, '');
    return parseIdentity(identity) === undefined ? undefined : identity;
  } catch {
    return undefined;
  }
}
