import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { wireLimits } from '../limits.ts';

/** What a signing key is good for. */
export interface SigningScope {
  /** `YYYYMMDD`. */
  readonly day: string;
  readonly region: string;
  readonly service: string;
}

/** By which a scope's key is found in a table of keys. */
export const scopeName = ({ day, region, service }: SigningScope): string => `${day}/${region}/${service}`;

interface Entry {
  readonly secret: string;
  readonly key: Buffer;
}

/**
 * Signing keys by (access key, day, region, service), least recently used out first: deriving one takes four
 * HMACs, and a client's requests of a day share it.
 */
export class DayKeys {
  readonly #entries = new Map<string, Entry>();
  readonly #max: number;

  constructor(max: number = wireLimits.dayKeysMax) {
    this.#max = max;
  }

  /** The key with which a request of that scope is signed. */
  derive(scope: SigningScope & { readonly accessKeyId: string }, secret: string): Buffer {
    const id = `${scope.accessKeyId}/${scopeName(scope)}`;
    const known = this.#entries.get(id);
    this.#entries.delete(id);
    // A secret that was replaced under the same access key must not live on here.
    const entry = known?.secret === secret ? known : { secret, key: deriveSigningKey(scope, secret) };
    this.#entries.set(id, entry);
    const oldest = this.#entries.size > this.#max ? this.#entries.keys().next().value : undefined;
    if (oldest !== undefined) this.#entries.delete(oldest);
    return entry.key;
  }

  /** How many keys are held. */
  get size(): number {
    return this.#entries.size;
  }
}

/** The key that `secret` gives for one scope. It does not lead back to the secret, nor to another scope's key. */
export function deriveSigningKey(scope: SigningScope, secret: string): Buffer {
  let key = hmac(`AWS4${secret}`, scope.day);
  for (const part of [scope.region, scope.service, 'aws4_request']) key = hmac(key, part);
  return key;
}

/** HMAC-SHA256. */
export function hmac(key: string | Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

/** By the bytes of keys that are used again and again: what the engine makes of bytes costs five times what the HMAC does. */
const keyObjects = new WeakMap<Buffer, KeyObject>();

/** The signature of `text` with a key that is kept: it must not change. */
export function signatureWith(key: Buffer, text: string): Buffer {
  const known = keyObjects.get(key) ?? createSecretKey(key);
  keyObjects.set(key, known);
  return createHmac('sha256', known).update(text).digest();
}
