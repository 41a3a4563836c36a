/** SSH keys: OpenSSH's encodings, EC2's fingerprints. */
import { createHash, createPublicKey, generateKeyPair, type KeyObject, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { PandoError } from '#contracts/errors.ts';

const generate = promisify(generateKeyPair);

export type KeyType = 'rsa' | 'ed25519';

export interface PublicKeyRecord {
  readonly type: KeyType;
  /** One line in OpenSSH's form. */
  readonly publicKey: string;
  readonly fingerprint: string;
}

export interface NewKey extends PublicKeyRecord {
  /** Told once to whoever asked; kept nowhere. */
  readonly privateKey: string;
}

const rsaBits = 2048;
const rsaBitsMin = 1024;
const rsaBitsMax = 16_384;
const materialCharsMax = 16_384;

const uint32 = (value: number): Buffer => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
};
const field = (value: Buffer | string): Buffer => {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint32(bytes.length), bytes]);
};
/** A positive number: a leading zero byte keeps it so. */
const mpint = (base64url: string): Buffer => {
  const bytes = Buffer.from(base64url, 'base64url');
  return field((bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes);
};

const colons = (hex: string): string => hex.match(/../g)?.join(':') ?? '';

/** A key's public part in OpenSSH's binary form. */
const blobOf = (key: KeyObject): Buffer => {
  const jwk = key.export({ format: 'jwk' });
  if (jwk.kty === 'RSA') return Buffer.concat([field('ssh-rsa'), mpint(jwk.e ?? ''), mpint(jwk.n ?? '')]);
  return Buffer.concat([field('ssh-ed25519'), field(Buffer.from(jwk.x ?? '', 'base64url'))]);
};

const ed25519Fingerprint = (blob: Buffer): string => createHash('sha256').update(blob).digest('base64');

/** Makes a pair. EC2 fingerprints an RSA key that it made by the SHA-1 of its private key, PKCS #8. */
export const createKey = async (type: KeyType, name: string): Promise<NewKey> => {
  if (type === 'rsa') {
    const pair = await generate('rsa', { modulusLength: rsaBits });
    const sha1 = createHash('sha1')
      .update(pair.privateKey.export({ type: 'pkcs8', format: 'der' }))
      .digest('hex');
    return {
      type,
      publicKey: `ssh-rsa ${blobOf(pair.publicKey).toString('base64')} ${name}`,
      fingerprint: colons(sha1),
      privateKey: String(pair.privateKey.export({ type: 'pkcs1', format: 'pem' })).trim(),
    };
  }
  const pair = await generate('ed25519');
  const blob = blobOf(pair.publicKey);
  return {
    type,
    publicKey: `ssh-ed25519 ${blob.toString('base64')} ${name}`,
    fingerprint: ed25519Fingerprint(blob),
    privateKey: opensshPrivateKey(pair.privateKey, blob),
  };
};

/** OpenSSH's own container, unencrypted: the only form in which it reads Ed25519 keys. */
const opensshPrivateKey = (key: KeyObject, publicBlob: Buffer): string => {
  const jwk = key.export({ format: 'jwk' });
  const seed = Buffer.from(jwk.d ?? '', 'base64url');
  const publicPart = Buffer.from(jwk.x ?? '', 'base64url');
  const check = randomBytes(4);
  const inner = Buffer.concat([
    check,
    check,
    field('ssh-ed25519'),
    field(publicPart),
    field(Buffer.concat([seed, publicPart])),
    field(''),
  ]);
  const padding = Buffer.from(Array.from({ length: (8 - (inner.length % 8)) % 8 }, (_, at) => at + 1));
  const whole = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    field('none'),
    field('none'),
    field(''),
    uint32(1),
    field(publicBlob),
    field(Buffer.concat([inner, padding])),
  ]);
  const lines = whole.toString('base64').match(/.{1,70}/g) ?? [];
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----'].join('\n');
};

const badFormat = (): PandoError =>
  new PandoError('InvalidKey.Format', 'Key is not in valid OpenSSH public key format');

/**
 * Reads a public key: OpenSSH's line, RFC 4716's block, or base64 of DER. EC2 fingerprints an imported RSA key by the MD5
 * of its public part, DER.
 */
export const readPublicKey = (material: Uint8Array, name: string): PublicKeyRecord => {
  const text = Buffer.from(material).toString('utf8').trim();
  if (text.length > materialCharsMax) throw badFormat();
  const key = keyOf(text);
  const blob = blobOf(key);
  if (key.asymmetricKeyType === 'ed25519')
    return {
      type: 'ed25519',
      publicKey: `ssh-ed25519 ${blob.toString('base64')} ${name}`,
      fingerprint: ed25519Fingerprint(blob),
    };
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType !== 'rsa' || bits < rsaBitsMin || bits > rsaBitsMax) throw badFormat();
  const md5 = createHash('md5')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');
  return { type: 'rsa', publicKey: `ssh-rsa ${blob.toString('base64')} ${name}`, fingerprint: colons(md5) };
};

const keyOf = (text: string): KeyObject => {
  try {
    const line = /^(ssh-rsa|ssh-ed25519) ([A-Za-z0-9+/=]+)(?: |$)/.exec(text);
    if (line?.[2] !== undefined) return keyOfBlob(Buffer.from(line[2], 'base64'), line[1]);
    if (text.startsWith('---- BEGIN SSH2 PUBLIC KEY ----'))
      return keyOfBlob(Buffer.from(rfc4716Body(text), 'base64'));
    return createPublicKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'spki' });
  } catch {
    throw badFormat();
  }
};

/** The lines between the markers that are neither a header nor a header's continuation (its line ends in a backslash). */
const rfc4716Body = (text: string): string => {
  const lines = text.split(/\r?\n/).slice(1, -1);
  let continued = false;
  return lines
    .filter((line) => {
      const header: boolean = continued || line.includes(':');
      continued = header && line.endsWith('\\');
      return !header;
    })
    .join('');
};

/** `expected`: the type that stood before the blob, where one did. */
const keyOfBlob = (blob: Buffer, expected?: string): KeyObject => {
  const [type, ...rest] = fieldsOf(blob);
  if (expected !== undefined && String(type) !== expected) throw badFormat();
  if (String(type) === 'ssh-rsa' && rest.length === 2)
    return createPublicKey({ key: { kty: 'RSA', e: number(rest[0]), n: number(rest[1]) }, format: 'jwk' });
  if (String(type) === 'ssh-ed25519' && rest.length === 1)
    return createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: rest[0]?.toString('base64url') },
      format: 'jwk',
    });
  throw badFormat();
};

const number = (bytes: Buffer | undefined): string =>
  (bytes?.[0] === 0 ? bytes.subarray(1) : (bytes ?? Buffer.alloc(0))).toString('base64url');

const fieldsMax = 8;

const fieldsOf = (blob: Buffer): Buffer[] => {
  const fields: Buffer[] = [];
  let at = 0;
  while (at < blob.length) {
    const length = blob.readUInt32BE(at);
    if (at + 4 + length > blob.length || fields.length >= fieldsMax) throw badFormat();
    fields.push(blob.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return fields;
};
