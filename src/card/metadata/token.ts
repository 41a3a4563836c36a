/**
 * Session tokens of the metadata service (version 2). Nothing is stored: a token is its expiry, signed together with the
 * interface that it was given to, under a key of the VPC on this card, which survives restarts. The expiry is of the machine's monotonic clock,
 * which begins anew with a boot: so the boot is part of the key.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

const expiryBytes = 6;

export class TokenSigner {
  readonly #key: Buffer;

  constructor(key: Buffer) {
    this.#key = key;
  }

  issue(eniId: string, seconds: number, nowMs: number): string {
    const expiry = Buffer.alloc(expiryBytes);
    expiry.writeUIntBE(nowMs + seconds * 1000, 0, expiryBytes);
    return Buffer.concat([expiry, this.#sign(eniId, expiry)]).toString('base64url');
  }

  /** Milliseconds that the token is still good for on this interface; 0: not at all. */
  remainingMs(token: string, eniId: string, nowMs: number): number {
    const bytes = Buffer.from(token, 'base64url');
    const expiry = bytes.subarray(0, expiryBytes);
    const signature = bytes.subarray(expiryBytes);
    const expected = this.#sign(eniId, expiry);
    if (expiry.length !== expiryBytes || signature.length !== expected.length) return 0;
    if (!timingSafeEqual(signature, expected)) return 0;
    return Math.max(0, expiry.readUIntBE(0, expiryBytes) - nowMs);
  }

  #sign(eniId: string, expiry: Buffer): Buffer {
    return createHmac('sha256', this.#key).update(expiry).update(eniId).digest();
  }
}
