import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadTls } from '#base/config.ts';
import { issueCertificate } from '#base/pki.ts';
import { belongTogether } from '#base/tlsFromFiles.ts';
import { PkiFiles } from '#node/pkiFiles.ts';
import { userOf } from '#node/users.ts';

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
  assert.equal(
    new X509Certificate(readFileSync(files.cert)).subjectAltName,
    'URI:spiffe://pando/agent/-/h-1',
  );
  assert.deepEqual(await (await PkiFiles.open(root, 'test')).issue('agent', 'h-1'), files);
  assert.equal(serial(files.cert), first);
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
      'URI:spiffe://pando/agent/-/h-1',
    );
  }
});

test('a certificate of which less than a third of its life remains is issued anew', async (t) => {
  const root = directory(t);
  const dayMs = 86_400_000;
  const short = await PkiFiles.open(root, 'test', { lifetimeMs: 9 * dayMs });
  const files = await short.issue('cell', 'a-1');
  const first = serial(files.cert);
  // Seen by an issuer whose certificates live 30 days, nine days are less than a third.
  const long = await PkiFiles.open(root, 'test', { lifetimeMs: 30 * dayMs });
  await long.issue('cell', 'a-1');
  assert.notEqual(serial(files.cert), first);
  assert.deepEqual(readdirSync(join(root, 'cell-a-1')), ['pair.pem']);
});

test('each pair is its user’s alone, in a directory of his; nothing that he plants there is followed', async (t) => {
  const root = directory(t);
  const user = userOf(98, { role: 'region' });
  const pki = await PkiFiles.open(root, 'test', { socket: '/run/ca.sock' });
  const files = await pki.issue('region', 'region', user);
  assert.equal(files.authority, '/run/ca.sock');
  for (const [path, mode] of [
    [dirname(files.cert), 0o700],
    [files.cert, 0o600],
  ] as const) {
    const found = lstatSync(path);
    assert.deepEqual([found.uid, found.gid, found.mode & 0o777], [user.uid, user.gid, mode], path);
  }
  const victim = join(root, 'victim');
  writeFileSync(victim, 'untouched');
  rmSync(files.cert);
  symlinkSync(victim, files.cert);
  await pki.issue('region', 'region', user);
  assert.equal(readFileSync(victim, 'utf8'), 'untouched');
  assert.ok(belongTogether(loadTls(files)));
});

test('identities of the last release stay while asked to, then give way to those of this one', async (t) => {
  const root = directory(t);
  const former = 'spiffe://pando/agent/h-1';
  const named = { cell: 'cell-a', name: 'h-1' };
  const identity = (): string => new X509Certificate(readFileSync(files.cert)).subjectAltName ?? '';
  const open = (keepFormer: boolean): Promise<PkiFiles> => PkiFiles.open(root, 'test', { keepFormer });
  const fresh = await open(true);
  const files = await fresh.issue('agent', named);
  assert.equal(identity(), 'URI:spiffe://pando/agent/cell-a/h-1', 'there is no former one');
  assert.equal(fresh.keptFormer, false);
  const authority = {
    cert: readFileSync(join(root, 'ca.crt'), 'utf8'),
    key: readFileSync(join(root, 'ca.key'), 'utf8'),
  };
  const { cert, key } = await issueCertificate(authority, former, 90 * 86_400_000);
  // As on the way back: the pair of this release is there still.
  writeFileSync(join(root, 'agent-h-1.pem'), `${key}\n${cert}`);
  for (const pki of [await open(true), await open(true)]) {
    await pki.issue('agent', named);
    assert.equal(identity(), `URI:${former}`);
    assert.equal(pki.keptFormer, true);
    assert.deepEqual(pki.identities, ['spiffe://pando/agent/cell-a/h-1']);
  }
  await (await open(false)).issue('agent', named);
  assert.equal(identity(), 'URI:spiffe://pando/agent/cell-a/h-1');
});

test('pairs of the last release are taken over', async (t) => {
  const root = directory(t);
  const pki = await PkiFiles.open(root, 'test');
  const files = await pki.issue('agent', 'h-1');
  const first = serial(files.cert);
  renameSync(files.cert, join(root, 'agent-h-1.pem'));
  rmSync(dirname(files.cert), { recursive: true });
  assert.equal(serial((await pki.issue('agent', 'h-1')).cert), first);
  assert.ok(!readdirSync(root).includes('agent-h-1.pem'));
});
