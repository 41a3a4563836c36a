/**
 * What one source address may do before it has proved who it is: so many connections, and so many requests that fail to. Whoever signs
 * with a key that is known here is not touched by what others behind the same address do.
 */
import type { Socket } from 'node:net';
import { monotonicMs } from '#base/monotonic.ts';
import { PandoError } from '#contracts/errors.ts';
import { Lru } from '../lru.ts';

export interface SourceLimits {
  readonly connectionsPerSourceMax: number;
  /** Requests without a valid signature: so many at once, and so many a second in the long run. */
  readonly unauthenticatedBurst: number;
  readonly unauthenticatedPerSecond: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/** The sources used last are remembered; one that is forgotten has a full bucket again. */
const sourcesMax = 20_000;

export class Sources {
  readonly #limits: SourceLimits;
  readonly #now: () => number;
  readonly #connections = new Map<string, number>();
  readonly #buckets: Lru<string, Bucket>;

  constructor(limits: SourceLimits, now: () => number = monotonicMs) {
    this.#limits = limits;
    this.#now = now;
    this.#buckets = new Lru(sourcesMax);
  }

  /** Counts a connection; one too many of its source is closed at once. Answers whether it stays. */
  admit(socket: Socket): boolean {
    const source = sourceOf(socket.remoteAddress);
    const present = this.#connections.get(source) ?? 0;
    if (present >= this.#limits.connectionsPerSourceMax) {
      socket.destroy();
      return false;
    }
    this.#connections.set(source, present + 1);
    socket.once('close', () => {
      const rest = (this.#connections.get(source) ?? 1) - 1;
      if (rest > 0) this.#connections.set(source, rest);
      else this.#connections.delete(source);
    });
    return true;
  }

  /** Before anybody is asked for a key that is not known here. @throws RequestLimitExceeded when the source has failed too often */
  check(address: string | undefined): void {
    if (this.#bucket(sourceOf(address)).tokens < 1)
      throw new PandoError('RequestLimitExceeded', 'Too many requests without a valid signature.');
  }

  /** A request of this source proved to be nobody's. */
  failed(address: string | undefined): void {
    const bucket = this.#bucket(sourceOf(address));
    bucket.tokens = Math.max(0, bucket.tokens - 1);
  }

  #bucket(source: string): Bucket {
    const now = this.#now();
    const { unauthenticatedBurst, unauthenticatedPerSecond } = this.#limits;
    const known = this.#buckets.get(source);
    if (known === undefined) {
      const fresh = { tokens: unauthenticatedBurst, atMs: now };
      this.#buckets.set(source, fresh);
      return fresh;
    }
    const earned = ((now - known.atMs) / 1_000) * unauthenticatedPerSecond;
    known.tokens = Math.min(unauthenticatedBurst, known.tokens + earned);
    known.atMs = now;
    return known;
  }
}

/** Whoever has one address of IPv6 has its /64. */
export const sourceOf = (address: string | undefined): string => {
  if (address === undefined) return '';
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address;
  const [head = '', tail] = address.split('%')[0]?.toLowerCase().split('::') ?? [];
  const groups = head.split(':').filter((group) => group !== '');
  const last = (tail ?? '').split(':').filter((group) => group !== '');
  const zeros =
    tail === undefined ? [] : Array.from({ length: Math.max(0, 8 - groups.length - last.length) }, () => '0');
  return `${[...groups, ...zeros, ...last].slice(0, 4).join(':')}::/64`;
};
