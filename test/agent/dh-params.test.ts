import assert from 'node:assert/strict';
import { getDiffieHellman } from 'node:crypto';
import { test } from 'node:test';
import { dhParameters } from '#agent/migration/dh-params.ts';

test('the Diffie-Hellman parameters are those of the published group', () => {
  const der = Buffer.from(dhParameters.split('\n').slice(1, -2).join(''), 'base64');
  const group = getDiffieHellman('modp14');
  const prime = der.indexOf(group.getPrime());
  assert.ok(prime > 0, 'the prime stands in it');
  assert.deepEqual([...der.subarray(prime + group.getPrime().length)], [0x02, 0x01, ...group.getGenerator()]);
});
