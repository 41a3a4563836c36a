/**
 * What a device signs, and how: ECDSA P-256 with SHA-256 (WebCrypto's form: 64 bytes, r and s) over a line that names the
 * protocol and RFC 8785 canonical JSON of the payload. A browser and the server build the very same bytes.
 *
 * In a browser:
 *   const bytes = signedBytes(payload)
 *   crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, privateKey, bytes) → base64url → `signature`
 */
import canonicalize from 'canonicalize';
import { z } from 'zod';
import { DeviceId, TimeMs } from './primitives.ts';

const protocolLine = 'pando-payments/1\n';

/** The bytes that a signature covers. Throws a TypeError where the payload is no JSON value (NaN, undefined). */
export function signedBytes(payload: unknown): Uint8Array<ArrayBuffer> {
  const text = canonicalize(payload);
  if (text === undefined) throw new TypeError('the payload is not a JSON value');
  return new TextEncoder().encode(protocolLine + text);
}

/** 128 random bits or more, base64url. Each is accepted once per device. */
export const Nonce = z.string().regex(/^[A-Za-z0-9_-]{22,64}$/);
export const Signature = z.string().regex(/^[A-Za-z0-9_-]{86}$/);

/** Fields of every signed payload: its kind (a signature for one thing is none for another), who, when, once. */
const header = { deviceId: DeviceId, nonce: Nonce, at: TimeMs };

/** A signed message whose payload has `type` and the fields of `shape` beside the header. */
export const signed = <Type extends string, Shape extends z.ZodRawShape>(type: Type, shape: Shape) =>
  z.strictObject({
    payload: z.strictObject({ type: z.literal(type), ...header, ...shape }),
    signature: Signature,
  });

/** A P-256 public key as WebCrypto exports it (`exportKey('jwk', publicKey)`), reduced to its four fields. */
export const PublicKeyJwk = z.strictObject({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  y: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
});
export type PublicKeyJwk = z.infer<typeof PublicKeyJwk>;
