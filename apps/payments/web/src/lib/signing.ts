/** What a device signs, byte for byte as the server's contract says (a test holds the two against each other). */
import canonicalize from 'canonicalize';

const protocolLine = 'pando-payments/1\n';
const nonceBytes = 16;

export interface SigningDevice {
  readonly deviceId: string;
  /** Not extractable. */
  readonly privateKey: Parameters<typeof crypto.subtle.sign>[1];
}

export function signedBytes(payload: unknown): Uint8Array<ArrayBuffer> {
  const text = canonicalize(payload);
  if (text === undefined) throw new TypeError('the payload is not a JSON value');
  return new TextEncoder().encode(protocolLine + text);
}

export const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

/** A signed message. It holds every field that is signed: what the server would fill in is not covered by a signature. */
export async function signedMessage(
  device: SigningDevice,
  type: string,
  fields: object,
): Promise<{ payload: object; signature: string }> {
  const nonce = base64url(crypto.getRandomValues(new Uint8Array(nonceBytes)));
  const payload = { type, deviceId: device.deviceId, nonce, at: Date.now(), ...fields };
  const signature = await crypto.subtle.sign(
    { name: 'ECDSA', hash: 'SHA-256' },
    device.privateKey,
    signedBytes(payload),
  );
  return { payload, signature: base64url(new Uint8Array(signature)) };
}
