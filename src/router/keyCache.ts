/** Access keys, remembered for a bounded time; when the region is gone, known keys go on working (static stability). */
import { createHash } from 'node:crypto';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import { Lru } from './lru.ts';
import { unavailable } from './outcome.ts';
import type { AccessKey } from './regionLink.ts';

export interface KeyCacheOptions {
  /** Asks the region; `undefined` is "no such key", a throw is "cannot be asked". */
  readonly lookup: (accessKeyId: string, sessionToken?: string) => Promise<AccessKey | undefined>;
  readonly keysMax: number;
  readonly ttlMs: number;
  readonly unknownTtlMs: number;
  readonly now?: () => number;
}

interface Entry {
  readonly key: AccessKey;
  readonly askedAtMs: number;
}

export class KeyCache {
  readonly #options: KeyCacheOptions;
  readonly #now: () => number;
  readonly #known: Lru<string, Entry>;
  /** Apart from the known ones, so that a flood of invented keys pushes no real key out. */
  readonly #unknown: Lru<string, number>;
  readonly #asking = new Map<string, Promise<AccessKey | undefined>>();

  constructor(options: KeyCacheOptions) {
    this.#options = options;
    this.#now = options.now ?? monotonicMs;
    this.#known = new Lru(options.keysMax);
    this.#unknown = new Lru(options.keysMax);
  }

  /**
   * The key, or `undefined` if there is none of that id. A temporary one is known under its id and its session token together, so that
   * an invented token neither finds it nor makes it unknown to whoever has the right one.
   *
   * @throws `Unavailable` if the region cannot be asked and the key was never seen here.
   */
  async get(accessKeyId: string, sessionToken?: string): Promise<AccessKey | undefined> {
    const name = nameOf(accessKeyId, sessionToken);
    const { ttlMs, unknownTtlMs } = this.#options;
    const entry = this.#known.get(name);
    if (entry !== undefined && this.#now() - entry.askedAtMs < ttlMs) return entry.key;
    const unknownSince = this.#unknown.get(name);
    if (unknownSince !== undefined && this.#now() - unknownSince < unknownTtlMs) return undefined;
    try {
      return await this.#ask(name, accessKeyId, sessionToken);
    } catch (error) {
      if (entry !== undefined) {
        // A region that hangs must not delay every request: it is asked again after a short while.
        this.#known.set(name, { key: entry.key, askedAtMs: this.#now() - ttlMs + unknownTtlMs });
        return entry.key;
      }
      if (PandoError.from(error).code === 'RequestLimitExceeded') throw error;
      throw unavailable('Credentials cannot be checked for the moment. Retry your request.', error);
    }
  }

  /** Whether the key is known here, so that nobody has to be asked. */
  knows(accessKeyId: string, sessionToken?: string): boolean {
    return this.#known.get(nameOf(accessKeyId, sessionToken)) !== undefined;
  }

  /** Requests with the same key at the same time share one lookup. */
  #ask(name: string, accessKeyId: string, sessionToken?: string): Promise<AccessKey | undefined> {
    const asking = this.#asking.get(name);
    if (asking !== undefined) return asking;
    const asked = this.#lookup(name, accessKeyId, sessionToken).finally(() => this.#asking.delete(name));
    this.#asking.set(name, asked);
    return asked;
  }

  async #lookup(name: string, accessKeyId: string, sessionToken?: string): Promise<AccessKey | undefined> {
    const key = await this.#options.lookup(accessKeyId, sessionToken);
    if (key === undefined) {
      this.#known.delete(name);
      this.#unknown.set(name, this.#now());
    } else {
      this.#known.set(name, { key, askedAtMs: this.#now() });
    }
    return key;
  }
}

const nameOf = (accessKeyId: string, sessionToken: string | undefined): string =>
  sessionToken === undefined
    ? accessKeyId
    : `${accessKeyId}/${createHash('sha256').update(sessionToken).digest('base64')}`;
