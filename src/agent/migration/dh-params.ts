/**
 * Parameters of a Diffie-Hellman exchange, which QEMU's TLS server otherwise makes anew each time, at half a second of CPU. The group is
 * a published one (RFC 3526, 2048 bits); TLS 1.3 takes elliptic curves and does not come to use it.
 */
import { getDiffieHellman } from 'node:crypto';

const sequenceTag = 0x30;
const integerTag = 0x02;

const tagged = (tag: number, content: Buffer): Buffer => {
  const length =
    content.length < 0x80
      ? [content.length]
      : content.length < 0x100
        ? [0x81, content.length]
        : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
};

/** A leading zero keeps a number positive. */
const integer = (value: Buffer): Buffer =>
  tagged(integerTag, (value[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), value]) : value);

/** PEM of PKCS #3. */
export const dhParameters = (): string => {
  const group = getDiffieHellman('modp14');
  const der = tagged(sequenceTag, Buffer.concat([integer(group.getPrime()), integer(group.getGenerator())]));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN DH PARAMETERS-----', ...lines, '-----END DH PARAMETERS-----', ''].join('\n');
};
