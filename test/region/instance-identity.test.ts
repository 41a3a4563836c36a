/** Identity documents and the region's key, verified by openssl as a receiver of one does. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import * as cms from '@peculiar/asn1-cms';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import { Certificate } from '@peculiar/asn1-x509';
import { sql } from 'kysely';
import { pino } from 'pino';
import { exec } from '#base/exec.ts';
import { loadIdentityKey } from '#region/identity-key.ts';
import { signIdentity } from '#region/instance-identity.ts';
import { loadSealer } from '#region/secrets.ts';
import { startTestRegion, type TestRegion } from './test-region.ts';

const log = pino({ level: 'silent' });
const facts = {
  accountId: '123456789012',
  instanceId: 'i-0010123456789abcd',
  privateIp: '10.0.0.4',
  availabilityZone: 'lab-1a',
  region: 'lab-1',
};
const claims = {
  imageId: 'ami-0123456789abcdef0',
  instanceType: 't3.micro',
  architecture: 'x86_64',
  pendingTime: '2026-11-26T12:00:00.123Z',
};

/** The whole of a PKCS #7 as a library encodes it. */
const encodedByLibrary = (document: Buffer, signature: Buffer, certificate: string): Buffer => {
  const { raw } = new X509Certificate(certificate);
  const { issuer, serialNumber } = AsnConvert.parse(raw, Certificate).tbsCertificate;
  const digestAlgorithm = new cms.DigestAlgorithmIdentifier({
    algorithm: '2.16.840.1.101.3.4.2.1',
    parameters: null,
  });
  const signatureAlgorithm = new cms.SignatureAlgorithmIdentifier({
    algorithm: '1.2.840.113549.1.1.1',
    parameters: null,
  });
  const signed = new cms.SignedData({
    version: cms.CMSVersion.v1,
    digestAlgorithms: new cms.DigestAlgorithmIdentifiers([digestAlgorithm]),
    encapContentInfo: new cms.EncapsulatedContentInfo({
      eContentType: cms.id_data,
      eContent: new cms.EncapsulatedContent({ single: new OctetString(document) }),
    }),
    signerInfos: new cms.SignerInfos([
      new cms.SignerInfo({
        version: cms.CMSVersion.v1,
        sid: new cms.SignerIdentifier({
          issuerAndSerialNumber: new cms.IssuerAndSerialNumber({ issuer, serialNumber }),
        }),
        digestAlgorithm,
        signatureAlgorithm,
        signature: new OctetString(signature),
      }),
    ]),
  });
  const content = AsnConvert.serialize(signed);
  return Buffer.from(AsnConvert.serialize(new cms.ContentInfo({ contentType: cms.id_signedData, content })));
};

describe('identity documents', () => {
  let region: TestRegion;
  let directory: string;
  const at = (name: string): string => join(directory, name);
  const openssl = (...args: string[]) => exec('openssl', args, { allow: [1, 2, 4] });
  before(async () => {
    region = await startTestRegion();
    directory = await mkdtemp(join(tmpdir(), 'pando-identity-'));
  });
  after(async () => {
    await region.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('are framed byte for byte as a library encodes them, however long they are', async () => {
    const key = region.region.identityKey;
    assert.ok(key !== undefined);
    for (const chars of [1, 90, 120, 250, 700, 65_000]) {
      const signed = await signIdentity(key, facts, { ...claims, imageId: 'a'.repeat(chars) });
      const expected = encodedByLibrary(
        Buffer.from(signed.document),
        Buffer.from(signed.signature, 'base64'),
        key.certificate,
      );
      assert.deepEqual(Buffer.from(signed.pkcs7, 'base64'), expected);
    }
  });

  it('verify with the region’s certificate by each of EC2’s three ways, and no longer once a byte is changed', async () => {
    const key = region.region.identityKey;
    assert.ok(key !== undefined);
    const signed = await signIdentity(key, facts, claims);
    await writeFile(at('cert.pem'), key.certificate);
    await writeFile(at('document'), signed.document);
    // As AWS's guide has it: base64 -d, and the header lines of a PKCS7 around what was read.
    await writeFile(at('signature'), Buffer.from(signed.signature, 'base64'));
    await writeFile(at('pkcs7'), `-----BEGIN PKCS7-----\n${signed.pkcs7}\n-----END PKCS7-----\n`);
    const { stdout: publicKey } = await openssl('x509', '-in', at('cert.pem'), '-pubkey', '-noout');
    await writeFile(at('key.pem'), publicKey);
    const digest = ['dgst', '-sha256', '-verify', at('key.pem'), '-signature', at('signature')];
    const pkcs7 = ['-in', at('pkcs7'), '-inform', 'PEM', '-certfile', at('cert.pem'), '-noverify'];
    assert.match((await openssl(...digest, at('document'))).stdout, /Verified OK/);
    for (const tool of [
      ['smime', '-verify'],
      ['cms', '-verify'],
    ])
      assert.equal((await openssl(...tool, ...pkcs7, '-out', at('content'))).exitCode, 0, tool[0]);
    assert.equal(await readFile(at('content'), 'utf8'), signed.document);

    await writeFile(at('forged'), signed.document.replace('10.0.0.4', '10.0.0.5'));
    assert.notEqual((await openssl(...digest, at('forged'))).exitCode, 0);
    const der = Buffer.from(signed.pkcs7, 'base64');
    const place = der.indexOf('10.0.0.4');
    assert.ok(place > 0);
    der.write('10.0.0.5', place);
    await writeFile(
      at('pkcs7'),
      `-----BEGIN PKCS7-----\n${(der.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END PKCS7-----\n`,
    );
    assert.notEqual((await openssl('smime', '-verify', ...pkcs7, '-out', at('content'))).exitCode, 0);
  });

  it('have EC2’s members in EC2’s order, with times to the second', async () => {
    const key = region.region.identityKey;
    assert.ok(key !== undefined);
    const { document } = await signIdentity(key, facts, claims);
    const read: Record<string, unknown> = JSON.parse(document);
    assert.deepEqual(Object.keys(read), [
      ...['accountId', 'architecture', 'availabilityZone', 'billingProducts', 'devpayProductCodes'],
      ...['marketplaceProductCodes', 'imageId', 'instanceId', 'instanceType', 'kernelId', 'pendingTime'],
      ...['privateIp', 'ramdiskId', 'region', 'version'],
    ]);
    assert.deepEqual(
      [read.pendingTime, read.privateIp, read.version],
      ['2026-11-26T12:00:00Z', '10.0.0.4', '2017-09-30'],
    );
  });

  it('keep their key over restarts; a region without one gets it, and of two that make one, one stays', async () => {
    const { db, sealer } = region.region;
    const load = () => loadIdentityKey(db, sealer, 'lab-1', log);
    const first = await load();
    assert.equal((await load())?.certificate, first?.certificate);
    // As a region of an older version is found.
    await sql`delete from identity_key`.execute(db);
    const made = await Promise.all([load(), load(), load()]);
    assert.ok(made[0] !== undefined);
    assert.equal(new Set(made.map((key) => key?.certificate)).size, 1);
    assert.notEqual(made[0].certificate, first?.certificate);
    const certificate = new X509Certificate(made[0].certificate);
    assert.match(certificate.subject, /instance-identity\.lab-1/);
    assert.ok(certificate.checkPrivateKey(made[0].privateKey));
  });

  it('keep the private key sealed in the store; under another key file it is neither opened nor replaced', async () => {
    const { db, sealer } = region.region;
    await loadIdentityKey(db, sealer, 'lab-1', log);
    const { rows } = await sql<{
      row: string;
    }>`select row_to_json(k)::text as row from identity_key k`.execute(db);
    const [before = { row: '' }] = rows;
    assert.doesNotMatch(before.row, /PRIVATE KEY/);
    const other = await loadSealer(at('another-key'));
    assert.equal(await loadIdentityKey(db, other, 'lab-1', log), undefined);
    const { rows: after } = await sql<{ row: string }>`
      select row_to_json(k)::text as row from identity_key k`.execute(db);
    assert.deepEqual(after, rows);
  });
});
