import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalJson } from '#contracts/canonicalJson.ts';
import { manifestDigest, parseManifest } from '#contracts/image-manifest.ts';

const file = { path: 'disk.qcow2', sha256: 'a'.repeat(64), bytes: 1 };
const described = {
  name: 'n',
  description: '',
  architecture: 'x86_64',
  bootMode: 'bios',
  files: { disk: { ...file, virtualBytes: 1, format: 'qcow2' } },
  minMemoryMib: 1,
};
const text = (value: object, digest = manifestDigest(value)): string => JSON.stringify({ ...value, digest });
const refused = { code: 'InvalidAMIID.Unavailable' };

test('canonical JSON does not depend on the order of members', () => {
  assert.equal(canonicalJson({ b: [1, { d: 2, c: undefined }], a: 'x' }), '{"a":"x","b":[1,{"d":2}]}');
});

test('a manifest is what its digest says, with members that only a newer Pando knows', () => {
  assert.equal(parseManifest(text(described)).name, 'n');
  const newer = { ...described, files: { ...described.files, firmware: file }, later: true };
  assert.equal(parseManifest(text(newer), manifestDigest(newer)).digest, manifestDigest(newer));
});

test('what is not a manifest, or is another one, is refused with one code', () => {
  for (const wrong of ['', 'null', '[]', '{}', 'x'.repeat(2 * 1024 * 1024), text(described, 'b'.repeat(64))])
    assert.throws(() => parseManifest(wrong), refused, wrong.slice(0, 40));
  assert.throws(() => parseManifest(text(described), 'b'.repeat(64)), refused);
  for (const path of ['../disk', '/etc/passwd', '.hidden', 'a/b', '', 'x'.repeat(129)])
    assert.throws(
      () => parseManifest(text({ ...described, files: { disk: { ...described.files.disk, path } } })),
      refused,
      path,
    );
});
