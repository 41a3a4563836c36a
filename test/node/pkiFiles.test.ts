import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { loadTls } from '#base/config.ts';
import { belongTogether } from '#base/tlsFromFiles.ts';
import { PkiFiles } from '#node/pkiFiles.ts';
import { keepRenewed } from '#node/renewal.ts';

const waitMsMax = 20_000;

function directory(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'pando-pki-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

const serial = (path: string): string => new X509Certificate(readFileSync(path)).serialNumber;

test('a certificate stays while it lasts, also for the next who opens the directory', async (t) => {
  const root = directory(t);
  const pki = await PkiFiles.open(root, 'test');
  const files = await pki.issue('agent', 'h-1');
  const first = serial(files.cert);
  assert.ok(belongTogether(loadTls(files)));
  assert.equal(new X509Certificate(readFileSync(files.cert)).subjectAltName, 'URI:spiffe://pando/agent/h-1');
  assert.deepEqual(await (await PkiFiles.open(root, 'test')).issue('agent', 'h-1'), files);
  assert.equal(serial(files.cert), first);
  assert.deepEqual(await pki.renew(), []);
});

test('damaged, of another authority, of another identity: made anew', async (t) => {
  const root = directory(t);
  const pki = await PkiFiles.open(root, 'test');
  const files = await pki.issue('agent', 'h-1');
  const stranger = await (await PkiFiles.open(directory(t), 'test')).issue('agent', 'h-1');
  const other = await pki.issue('agent', 'h-2');
  for (const text of ['', readFileSync(stranger.cert, 'utf8'), readFileSync(other.cert, 'utf8')]) {
    writeFileSync(files.cert, text);
    await pki.issue('agent', 'h-1');
    assert.ok(belongTogether(loadTls(files)));
    assert.equal(
      new X509Certificate(readFileSync(files.cert)).subjectAltName,
      'URI:spiffe://pando/agent/h-1',
    );
  }
});

test('a certificate of which less than a third of its life remains is renewed, by issue and by renew', async (t) => {
  const root = directory(t);
  const dayMs = 86_400_000;
  const short = await PkiFiles.open(root, 'test', 9 * dayMs);
  const files = await short.issue('cell', 'a-1');
  await short.issue('cell', 'a-2');
  const first = serial(files.cert);
  // Seen by an issuer whose certificates live 30 days, nine days are less than a third.
  const long = await PkiFiles.open(root, 'test', 30 * dayMs);
  await long.issue('cell', 'a-1');
  assert.notEqual(serial(files.cert), first);
  assert.deepEqual(await long.renew(), ['spiffe://pando/cell/a-2']);
  assert.deepEqual(await long.renew(), []);
  assert.equal(readdirSync(root).filter((name) => name.endsWith('.new')).length, 0);
});

test('a supervisor renews for as long as it runs, before anything has ended', async (t) => {
  const root = directory(t);
  const lifetimeMs = 6_000;
  const pki = await PkiFiles.open(root, 'test', lifetimeMs);
  const files = await pki.issue('router', 'router');
  const said: string[] = [];
  const renewal = keepRenewed(root, (line) => said.push(line), lifetimeMs);
  t.after(() => renewal.stop());
  const tls = loadTls(files);
  const seen = new Set<string>();
  const until = performance.now() + waitMsMax;
  while (seen.size < 3) {
    assert.ok(performance.now() < until, `renewed only ${seen.size - 1} times: ${said.join('; ')}`);
    const certificate = new X509Certificate(tls.current?.().cert ?? '');
    assert.ok(Date.parse(certificate.validTo) > Date.now(), 'a certificate ended before it was renewed');
    seen.add(certificate.serialNumber);
    await delay(50);
  }
  assert.match(said[0] ?? '', /renewed .*router/);
});
