/** Identity documents of instances, signed: what a guest shows to whoever asks which instance it is. */
import { sign, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import {
  CMSVersion,
  DigestAlgorithmIdentifier,
  DigestAlgorithmIdentifiers,
  IssuerAndSerialNumber,
  id_data,
  id_signedData,
  SignatureAlgorithmIdentifier,
} from '@peculiar/asn1-cms';
import { AsnConvert } from '@peculiar/asn1-schema';
import { Certificate } from '@peculiar/asn1-x509';
import type { IdentityClaims, SignedIdentity } from '#contracts/metadata.ts';
import type { IdentityKey } from './identity-key.ts';

/** What the region itself knows of the instance. */
export interface IdentityFacts {
  readonly accountId: string;
  readonly instanceId: string;
  readonly privateIp: string;
  readonly availabilityZone: string;
  readonly region: string;
}

const documentVersion = '2017-09-30';
/** Of ISO 8601, up to the second. */
const secondChars = 19;
const base64LineChars = 64;
const sha256 = '2.16.840.1.101.3.4.2.1';
const rsaEncryption = '1.2.840.113549.1.1.1';

/** EC2's members, in EC2's order; times are to the second. */
export const identityDocument = (facts: IdentityFacts, claims: IdentityClaims): string =>
  JSON.stringify(
    {
      accountId: facts.accountId,
      architecture: claims.architecture,
      availabilityZone: facts.availabilityZone,
      billingProducts: null,
      devpayProductCodes: null,
      marketplaceProductCodes: null,
      imageId: claims.imageId,
      instanceId: facts.instanceId,
      instanceType: claims.instanceType,
      kernelId: null,
      pendingTime: `${claims.pendingTime.slice(0, secondChars)}Z`,
      privateIp: facts.privateIp,
      ramdiskId: null,
      region: facts.region,
      version: documentVersion,
    },
    null,
    2,
  );

const signBytes = promisify(sign);

/** What all PKCS #7 of one key have in common, encoded. */
interface Frame {
  readonly versionAndDigests: Buffer;
  readonly signer: Buffer;
}

const frames = new WeakMap<IdentityKey, Frame>();
const encoded = (value: unknown): Buffer => Buffer.from(AsnConvert.serialize(value));
const [integer, octets, sequence, set, explicit] = [0x02, 0x04, 0x30, 0x31, 0xa0];
const lengthByteMax = 0x7f;

/** DER: a tag, the length of what follows, and that. */
const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length <= lengthByteMax) return Buffer.concat([Buffer.from([tag, length]), ...parts]);
  const digits = length.toString(16);
  const bytes = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length]), bytes, ...parts]);
};

const frameOf = (key: IdentityKey): Frame => {
  const known = frames.get(key);
  if (known !== undefined) return known;
  const { raw } = new X509Certificate(key.certificate);
  const { issuer, serialNumber } = AsnConvert.parse(raw, Certificate).tbsCertificate;
  const digest = new DigestAlgorithmIdentifier({ algorithm: sha256, parameters: null });
  const signature = new SignatureAlgorithmIdentifier({ algorithm: rsaEncryption, parameters: null });
  const signer = new IssuerAndSerialNumber({ issuer, serialNumber });
  const version = der(integer, Buffer.from([CMSVersion.v1]));
  const frame = {
    versionAndDigests: Buffer.concat([version, encoded(new DigestAlgorithmIdentifiers([digest]))]),
    signer: Buffer.concat([version, encoded(signer), encoded(digest), encoded(signature)]),
  };
  frames.set(key, frame);
  return frame;
};

/** An algorithm's encoding begins with its identifier: so the library encodes these two. */
const oidOf = (id: string): Buffer => {
  const bytes = encoded(new DigestAlgorithmIdentifier({ algorithm: id }));
  return bytes.subarray(2);
};
const oids = { data: oidOf(id_data), signed: oidOf(id_signedData) };

/**
 * A PKCS #7 of the document and its signature. Without signed attributes what is signed are the document's bytes: one signature serves both.
 * Put together of encoded parts: encoding it whole was a quarter of the region's time in a launch.
 */
const pkcs7Of = (document: Buffer, signature: Buffer, key: IdentityKey): string => {
  const { versionAndDigests, signer } = frameOf(key);
  const content = der(sequence, oids.data, der(explicit, der(octets, document)));
  const signers = der(set, der(sequence, signer, der(octets, signature)));
  const signed = der(sequence, versionAndDigests, content, signers);
  return linesOf(der(sequence, oids.signed, der(explicit, signed)));
};

/** Base64 in lines, as `openssl` writes and reads it. */
const linesOf = (bytes: Buffer): string => {
  const text = bytes.toString('base64');
  const lines = Math.ceil(text.length / base64LineChars);
  return Array.from({ length: lines }, (_, at) =>
    text.slice(at * base64LineChars, (at + 1) * base64LineChars),
  ).join('\n');
};

export const signIdentity = async (
  key: IdentityKey,
  facts: IdentityFacts,
  claims: IdentityClaims,
): Promise<SignedIdentity> => {
  const document = identityDocument(facts, claims);
  const bytes = Buffer.from(document);
  const signature = await signBytes('sha256', bytes, key.privateKey);
  return { document, signature: linesOf(signature), pkcs7: pkcs7Of(bytes, signature, key) };
};
