/** What an agent vouches for its VMM with, without a VMM. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { checkCredential, makeCredential } from '#agent/migration/credential.ts';
import type { TlsMaterial } from '#base/identity.ts';
import { createAuthority, issueCertificate } from '#base/pki.ts';
import { newId } from '#contracts/ids.ts';

const host = 'spiffe://pando/agent/cell-a/h-1';
const overSince = -1_000;

test('an agent whose first certificate has ended vouches with the one that it has now', async () => {
  const authority = await createAuthority('test');
  const first = await issueCertificate(authority, host, overSince);
  const renewed = await issueCertificate(authority, host);
  const material: TlsMaterial = { ...first, current: () => renewed };
  const instanceId = newId('instance');
  for (const side of ['source', 'target'] as const) {
    const { shown } = await makeCredential(material, instanceId, side);
    checkCredential(authority.cert, instanceId, side, shown);
  }
  const { shown } = await makeCredential(first, instanceId, 'source');
  assert.throws(() => checkCredential(authority.cert, instanceId, 'source', shown), { code: 'AccessDenied' });
});

test('an agent of another cell vouches for nobody, and one of the last release, whose identity names none, as it did', async () => {
  const authority = await createAuthority('test');
  const instanceId = newId('instance');
  const shownBy = async (identity: string) =>
    (await makeCredential(await issueCertificate(authority, identity), instanceId, 'source')).shown;
  const check = async (identity: string, cell: string | undefined): Promise<void> =>
    checkCredential(authority.cert, instanceId, 'source', await shownBy(identity), cell);
  await check(host, 'cell-a');
  await check('spiffe://pando/agent/h-1', 'cell-a');
  await check(host, undefined);
  await assert.rejects(check('spiffe://pando/agent/cell-b/h-1', 'cell-a'), { code: 'AccessDenied' });
});

test('a VMM is known by an alternative name of its certificate: a common name beside one counts for nothing', async () => {
  const authority = await createAuthority('test');
  const instanceId = newId('instance');
  const { cert } = await makeCredential(await issueCertificate(authority, host), instanceId, 'target');
  assert.equal(new X509Certificate(cert).checkHost(instanceId, { subject: 'never' }), instanceId);
});
