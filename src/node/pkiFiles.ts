/**
 * The run's certificates as files: one authority, and for each process a directory that only its user may enter. A certificate and its
 * key are one file, so that neither a reader nor a crash finds a pair that does not match. Root issues the missing ones here, at each `up`.
 * The processes renew theirs by themselves: they ask the authority's process (`keepCertificate`).
 */
import { randomUUID, X509Certificate } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  fchownSync,
  fsyncSync,
  lchownSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { TlsPaths } from '#base/config.ts';
import { parseIdentity } from '#base/identity.ts';
import {
  type Authority,
  certificateLifetimeMsDefault,
  createAuthority,
  issueCertificate,
} from '#base/pki.ts';
import { pairOf } from '#base/renewal.ts';
import { belongTogether } from '#base/tlsFromFiles.ts';
import { writeAtomicallySync } from '#base/writeAtomically.ts';
import { formerText, identityText, type Role } from '#contracts/identity.ts';
import { passable, readUnfollowed } from './ownership.ts';
import type { User } from './users.ts';

const pairName = 'pair.pem';
const everybodyReads = 0o644;

/** A process's name, and its cell where it belongs to one. */
export type Named = string | { readonly cell: string; readonly name: string };

export const identityOf = (role: Role, named: Named): string =>
  typeof named === 'string'
    ? identityText(role, named, undefined)
    : identityText(role, named.name, named.cell);

export interface PkiOptions {
  /** Unix socket of the authority's process, told to those who get a certificate. */
  readonly socket?: string;
  readonly lifetimeMs?: number;
  /** Identities of the last release's form stay, for as long as there may be processes that understand no other. */
  readonly keepFormer?: boolean;
}

/** The certificates of one run, in `directory`. */
export class PkiFiles {
  readonly #directory: string;
  readonly #authority: Authority;
  readonly #socket: string | undefined;
  readonly #lifetimeMs: number;
  readonly #keepFormer: boolean;
  readonly #identities = new Set<string>();
  #keptFormer = false;

  private constructor(directory: string, authority: Authority, options: PkiOptions) {
    this.#directory = directory;
    this.#authority = authority;
    this.#socket = options.socket;
    this.#lifetimeMs = options.lifetimeMs ?? certificateLifetimeMsDefault;
    this.#keepFormer = options.keepFormer ?? false;
  }

  /** Opens the run's authority, made at the first time with `name` for people. */
  static async open(directory: string, name: string, options: PkiOptions = {}): Promise<PkiFiles> {
    passable(directory);
    const { certificate, key } = authorityFiles(directory);
    if (!existsSync(certificate) || !existsSync(key)) {
      const made = await createAuthority(name);
      writeAtomicallySync(key, made.key);
      writeAtomicallySync(certificate, made.cert, everybodyReads);
    }
    chmodSync(certificate, everybodyReads);
    const authority = { cert: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') };
    return new PkiFiles(directory, authority, options);
  }

  /** Whose certificates were issued or found to last since it was opened. */
  get identities(): string[] {
    return [...this.#identities].sort();
  }

  /** Whether an identity of the last release's form was kept. */
  get keptFormer(): boolean {
    return this.#keptFormer;
  }

  /**
   * The files of `spiffe://pando/<role>/<cell>/<name>`, owned by `user` (default: root): those that stand while they last, else new ones.
   */
  async issue(role: Role, named: Named, user?: User): Promise<TlsPaths> {
    const name = typeof named === 'string' ? named : named.name;
    const directory = join(this.#directory, `${role}-${name}`);
    const pair = join(directory, pairName);
    const identity = identityOf(role, named);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    if (user !== undefined) lchownSync(directory, user.uid, user.gid);
    this.#takeFormer(`${directory}.pem`, pair, user);
    const former = formerText(role, name);
    const keeps = this.#keepFormer && identityOfFile(pair) === former;
    const wanted = keeps ? former : identity;
    if (!this.#lasts(pair, wanted)) {
      const { cert, key } = await issueCertificate(this.#authority, wanted, this.#lifetimeMs);
      writeFor(user, pair, pairOf(key, cert));
    }
    this.#keptFormer ||= keeps;
    // Also where the former one is kept: it is replaced before it ends.
    this.#identities.add(identity);
    const files = { ca: authorityFiles(this.#directory).certificate, cert: pair, key: pair };
    return this.#socket === undefined ? files : { ...files, authority: this.#socket };
  }

  /** The last release kept all pairs in one directory. One that lies there was used last, also after a way back to that release. */
  #takeFormer(former: string, pair: string, user: User | undefined): void {
    const text = readUnfollowed(former);
    if (text === undefined) return;
    writeFor(user, pair, text);
    rmSync(former, { force: true });
  }

  /** Whether the file is of this authority and identity, whole, and has more than a third of a life before it. */
  #lasts(pair: string, identity: string): boolean {
    try {
      const text = readUnfollowed(pair) ?? '';
      const certificate = new X509Certificate(text);
      const remainingMs = Date.parse(certificate.validTo) - Date.now();
      return (
        remainingMs > this.#lifetimeMs / 3 &&
        identityIn(certificate) === identity &&
        belongTogether({ ca: this.#authority.cert, cert: text, key: text })
      );
    } catch {
      return false;
    }
  }
}

/** Where an authority's certificate and key lie. */
export const authorityFiles = (
  directory: string,
): { readonly certificate: string; readonly key: string } => ({
  certificate: join(directory, 'ca.crt'),
  key: join(directory, 'ca.key'),
});

/** The identity in a pair's file; undefined when there is none. */
function identityOfFile(pair: string): string | undefined {
  try {
    return identityIn(new X509Certificate(readUnfollowed(pair) ?? ''));
  } catch {
    return undefined;
  }
}

/** The identity that a certificate names; undefined when it is none of ours. */
function identityIn({ subjectAltName = '' }: X509Certificate): string | undefined {
  const identity = subjectAltName.replace(/^URI:/, '');
  return parseIdentity(identity) === undefined ? undefined : identity;
}

/** Writes beside and renames; nothing that was put there is written into. */
function writeFor(user: User | undefined, path: string, text: string): void {
  const beside = `${path}.${randomUUID()}`;
  const file = openSync(beside, 'wx', 0o600);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
    if (user !== undefined) fchownSync(file, user.uid, user.gid);
  } finally {
    closeSync(file);
  }
  renameSync(beside, path);
}
