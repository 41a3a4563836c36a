/** Identity documents of instances, signed: what a guest shows to whoever asks which instance it is. */
import { sign, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import {
  CMSVersion,
  ContentInfo,
  DigestAlgorithmIdentifier,
  DigestAlgorithmIdentifiers,
  EncapsulatedContent,
  EncapsulatedContentInfo,
  IssuerAndSerialNumber,
  id_data,
  id_signedData,
  SignatureAlgorithmIdentifier,
  SignedData,
  SignerIdentifier,
  SignerInfo,
  SignerInfos,
} from '@peculiar/asn1-cms';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
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

/** A PKCS #7 of the document and its signature. Without signed attributes what is signed are the document's bytes: one signature serves both. */
const pkcs7Of = (document: Buffer, signature: Buffer, certificate: string): string => {
  const { raw } = new X509Certificate(certificate);
  const { issuer, serialNumber } = AsnConvert.parse(raw, Certificate).tbsCertificate;
  const digestAlgorithm = new DigestAlgorithmIdentifier({ algorithm: sha256, parameters: null });
  const signed = new SignedData({
    version: CMSVersion.v1,
    digestAlgorithms: new DigestAlgorithmIdentifiers([digestAlgorithm]),
    encapContentInfo: new EncapsulatedContentInfo({
      eContentType: id_data,
      eContent: new EncapsulatedContent({ single: new OctetString(document) }),
    }),
    signerInfos: new SignerInfos([
      new SignerInfo({
        version: CMSVersion.v1,
        sid: new SignerIdentifier({
          issuerAndSerialNumber: new IssuerAndSerialNumber({ issuer, serialNumber }),
        }),
        digestAlgorithm,
        signatureAlgorithm: new SignatureAlgorithmIdentifier({ algorithm: rsaEncryption, parameters: null }),
        signature: new OctetString(signature),
      }),
    ]),
  });
  const info = new ContentInfo({ contentType: id_signedData, content: AsnConvert.serialize(signed) });
  return linesOf(Buffer.from(AsnConvert.serialize(info)));
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
  return { document, signature: linesOf(signature), pkcs7: pkcs7Of(bytes, signature, key.certificate) };
};
