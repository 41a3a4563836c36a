/** The certificate authority's process: who gets a certificate renewed, and that processes get theirs in time. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { askAnew } from '#base/certificateRequest.ts';
import { loadTls } from '#base/config.ts';
import { identityIn } from '#base/identity.ts';
import { certificateLifetimeMsDefault, createAuthority, issueCertificate } from '#base/pki.ts';
import { askAuthority, keepCertificate } from '#base/renewal.ts';
import { belongTogether } from '#base/tlsFromFiles.ts';
import { serveCa } from '#ca/server.ts';
import { authorityFiles, PkiFiles } from '#node/pkiFiles.ts';

const waitMsMax = 60_000;
/** A third of it passes between two renewals: the rest is for a machine that stands still. */
const shortLifetimeMs = 12_000;
const silent = pino({ level: 'silent' });

/** An authority that knows two processes, and its socket. */
async function bench(t: TestContext, lifetimeMs = certificateLifetimeMsDefault) {
  const root = mkdtempSync(join(tmpdir(), 'pando-ca-'));
  const socket = join(root, 'ca.sock');
  const pki = await PkiFiles.open(join(root, 'pki'), 'test', { socket, lifetimeMs });
  const region = await pki.issue('region', 'region');
  const router = await pki.issue('router', 'router');
  const identities = pki.identities;
  const stranger = await pki.issue('router', 'dismissed');
  const server = await serveCa(
    { socket, ...authorityFiles(join(root, 'pki')), identities, lifetimeMs },
    silent,
  );
  t.after(async () => {
    server.close();
    rmSync(root, { recursive: true, force: true });
  });
  return { root, socket, region, router, stranger };
}

const identityOf = (pem: string): string | undefined => identityIn(new X509Certificate(pem).subjectAltName);

test('a process gets a new certificate for its own identity and its own new key', async (t) => {
  const { socket, region } = await bench(t);
  const present = loadTls(region);
  const { key, asked } = await askAnew(present);
  assert.ok(!JSON.stringify(asked).includes('PRIVATE KEY'), 'no key leaves its process');
  const cert = await askAuthority(socket, asked);
  assert.ok(belongTogether({ ca: present.ca, cert, key }));
  assert.equal(identityOf(cert), 'spiffe://pando/region/-/region');
  assert.notEqual(new X509Certificate(cert).serialNumber, new X509Certificate(present.cert).serialNumber);
});

test('nobody gets one that is not his: each wrong proof is refused', async (t) => {
  const { socket, region, router, stranger } = await bench(t);
  const [own, other] = [loadTls(router), loadTls(region)];
  const { asked } = await askAnew(own);
  const { asked: others } = await askAnew(other);
  const elsewhere = await createAuthority('elsewhere');
  const forged = await issueCertificate(elsewhere, 'spiffe://pando/region/-/region');
  const ended = await issueCertificate(
    { cert: own.ca, key: readFileSync(authorityFiles(join(socket, '..', 'pki')).key, 'utf8') },
    'spiffe://pando/router/-/router',
    -60_000,
  );
  const wrong: readonly (readonly [object, RegExp])[] = [
    [{ ...asked, certificate: others.certificate }, /not signed with the key/],
    [{ ...asked, request: others.request }, /not signed with the key/],
    [(await askAnew(forged)).asked, /not of this authority/],
    [(await askAnew(ended)).asked, /not valid now/],
    [(await askAnew(loadTls(stranger))).asked, /dismissed is not among/],
    [{ ...asked, certificate: 'x' }, /cannot be read/],
    [{ ...asked, request: 'x', signature: 'x' }, /not signed/],
    [{}, /not one/],
    [{ ...asked, request: 'x'.repeat(40_000) }, /too long|not one/],
  ];
  for (const [request, reason] of wrong)
    await assert.rejects(askAuthority(socket, request as typeof asked), reason, String(reason));
});

test('noise at its socket is answered or cut off, and it goes on', async (t) => {
  const { socket, region } = await bench(t);
  for (const noise of [
    '\0\0\0',
    'GET / HTTP/1.1\r\nhost: x\r\n\r\n',
    `POST /renew HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n{x}`,
  ]) {
    const peer = createConnection(socket);
    peer.on('error', () => undefined);
    peer.write(noise);
    await new Promise((resolve) => peer.once('data', resolve).once('close', resolve));
    peer.destroy();
  }
  assert.ok(await askAuthority(socket, (await askAnew(loadTls(region))).asked));
});

test('a process renews for as long as it runs, before anything has ended', async (t) => {
  const { router } = await bench(t, shortLifetimeMs);
  const said: string[] = [];
  const renewal = keepCertificate(router, {
    info: (_facts, message) => said.push(message),
    warn: (facts, message) => said.push(`${message} ${JSON.stringify(facts)}`),
  });
  t.after(() => renewal.stop());
  const tls = loadTls(router);
  const seen = new Set<string>();
  const until = performance.now() + waitMsMax;
  while (seen.size < 3) {
    assert.ok(performance.now() < until, `renewed only ${seen.size - 1} times: ${said.join('; ')}`);
    const certificate = new X509Certificate(tls.current?.().cert ?? '');
    assert.ok(Date.parse(certificate.validTo) > Date.now(), 'a certificate ended before it was renewed');
    seen.add(certificate.serialNumber);
    await delay(50);
  }
  assert.match(said[0] ?? '', /renewed/);
});
