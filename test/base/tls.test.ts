import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { loadTls, type TlsPaths } from '#base/config.ts';
import type { TlsMaterial } from '#base/identity.ts';
import { type Authority, createAuthority, issueCertificate } from '#base/pki.ts';
import { openAccess } from '#base/rpc/access.ts';
import { RpcClient } from '#base/rpc/client.ts';
import { serveRpc } from '#base/rpc/server.ts';
import { writeAtomicallySync } from '#base/writeAtomically.ts';

const contract = { 'test.ping': { params: z.object({}), result: z.object({}) } } as const;
const serverIdentity = 'spiffe://pando/cell/a';
const clientIdentity = 'spiffe://pando/agent/h-1';
const patienceMs = 30_000;
const validMs = 10 * 60_000;
const endedMs = -60_000;

function directory(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'pando-tls-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

function save(paths: TlsPaths, material: TlsMaterial): TlsPaths {
  for (const part of ['ca', 'key', 'cert'] as const) writeAtomicallySync(paths[part], material[part]);
  return paths;
}

const pathsOf = (root: string, name: string): TlsPaths => ({
  ca: join(root, 'ca.pem'),
  cert: join(root, `${name}.crt`),
  key: join(root, `${name}.key`),
});

const dial = (tls: TlsMaterial, port: number) =>
  new RpcClient({
    tls,
    host: '127.0.0.1',
    port,
    expect: serverIdentity,
    remote: contract,
    contract: {},
    handlers: {},
  });

const serve = (tls: TlsMaterial) =>
  serveRpc({
    tls,
    host: '127.0.0.1',
    port: 0,
    contract,
    access: openAccess(contract),
    remote: {},
    authorize: (identity) => identity === clientIdentity,
    handlers: () => ({ 'test.ping': () => ({}) }),
  });

/** An authority named exactly as a certificate would be: what earlier versions could make. */
async function authorityWithPlainName(name: string): Promise<Authority> {
  const x509 = await import('@peculiar/x509');
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  });
  const key = x509.PemConverter.encode(
    await crypto.subtle.exportKey('pkcs8', keys.privateKey),
    'PRIVATE KEY',
  );
  return { cert: cert.toString('pem'), key };
}

test('a certificate may be named like its authority: their whole names differ, and so do those of two authorities', async (t) => {
  const [authority, namesake] = [await createAuthority('a'), await createAuthority('a')];
  assert.notEqual(new X509Certificate(authority.cert).subject, new X509Certificate(namesake.cert).subject);
  const server = await serve(await issueCertificate(authority, serverIdentity));
  t.after(() => server.close());
  const client = dial(await issueCertificate(authority, clientIdentity), server.port);
  t.after(() => client.close());
  await client.ready(patienceMs);
});

test('an authority whose whole name is that of the certificate is refused, by a message that says so', async () => {
  await assert.rejects(issueCertificate(await authorityWithPlainName('a'), serverIdentity), /named CN=a/);
  await issueCertificate(await authorityWithPlainName('b'), serverIdentity);
});

test('who listens and who dials go on with renewed files, without being started again', async (t) => {
  const root = directory(t);
  const authority = await createAuthority('test');
  const renew = async (name: string, identity: string, lifetimeMs: number): Promise<TlsPaths> =>
    save(pathsOf(root, name), await issueCertificate(authority, identity, lifetimeMs));
  const [mine, theirs] = [
    await renew('agent', clientIdentity, validMs),
    await renew('cell', serverIdentity, validMs),
  ];
  const server = await serve(loadTls(theirs));
  t.after(() => server.close());
  const tls = loadTls(mine);
  const early = dial(tls, server.port);
  t.after(() => early.close());
  await early.ready(patienceMs);

  // As they are once their time is over. Waiting for it would leave a slow machine too little time before.
  await renew('agent', clientIdentity, endedMs);
  await renew('cell', serverIdentity, endedMs);
  const late = dial(tls, server.port);
  t.after(() => late.close());
  await assert.rejects(
    late.ready(400).then(() => late.call('test.ping', {})),
    { code: 'HostUnreachable' },
  );
  await early.call('test.ping', {});
  await renew('agent', clientIdentity, validMs);
  await renew('cell', serverIdentity, validMs);
  await late.ready(patienceMs);
  await late.call('test.ping', {});
});

test('files that are half replaced, damaged or gone are not taken', async (t) => {
  const root = directory(t);
  const authority = await createAuthority('test');
  const paths = save(pathsOf(root, 'x'), await issueCertificate(authority, clientIdentity));
  const tls = loadTls(paths);
  const before = tls.current?.();
  assert.equal(before?.cert, tls.cert);
  const next = await issueCertificate(authority, clientIdentity);
  writeAtomicallySync(paths.key, next.key);
  assert.equal(tls.current?.(), before);
  writeFileSync(paths.cert, 'no certificate');
  assert.equal(tls.current?.(), before);
  rmSync(paths.cert);
  assert.equal(tls.current?.(), before);
  writeAtomicallySync(paths.cert, next.cert);
  assert.equal(tls.current?.().cert, next.cert);
});

test('certificate and key may lie in one file', async (t) => {
  const root = directory(t);
  const authority = await createAuthority('test');
  const one = async (name: string, identity: string): Promise<TlsMaterial> => {
    const { ca, cert, key } = await issueCertificate(authority, identity);
    const paths = { ca: join(root, 'ca.pem'), cert: join(root, name), key: join(root, name) };
    writeAtomicallySync(paths.ca, ca);
    writeAtomicallySync(paths.cert, key.endsWith('\n') ? key + cert : `${key}\n${cert}`);
    return loadTls(paths);
  };
  const server = await serve(await one('cell', serverIdentity));
  t.after(() => server.close());
  const client = dial(await one('agent', clientIdentity), server.port);
  t.after(() => client.close());
  await client.ready(patienceMs);
});
