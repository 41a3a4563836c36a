import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  contains,
  formatAddress,
  formatNetwork,
  netmaskOf,
  overlaps,
  parseAddress,
  parseNetwork,
} from '#base/ipv4.ts';

const address = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const network = fc.tuple(address, fc.integer({ min: 0, max: 32 })).map(([at, prefix]) => {
  const parsed = parseNetwork(`${formatAddress(at)}/${prefix}`);
  assert.ok(parsed !== undefined);
  return parsed;
});

test('an address and a network come back as they were written', () => {
  fc.assert(fc.property(address, (at) => assert.equal(parseAddress(formatAddress(at)), at)));
  fc.assert(fc.property(network, (one) => assert.deepEqual(parseNetwork(formatNetwork(one)), one)));
});

test('host bits are cleared; masks are the kernel’s', () => {
  assert.equal(formatNetwork(parseNetwork('10.1.2.3/16') ?? assert.fail()), '10.1.0.0/16');
  for (const [cidr, mask] of [
    ['0.0.0.0/0', '0.0.0.0'],
    ['10.0.0.0/20', '255.255.240.0'],
    ['1.2.3.4/32', '255.255.255.255'],
  ] as const)
    assert.equal(netmaskOf(parseNetwork(cidr) ?? assert.fail()), mask);
});

test('what is not four decimal parts, or not a prefix, is none', () => {
  for (const text of [
    '',
    '1',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    '0x1.2.3.4',
    '1.2.3.4 ',
    '1.2.3.4.5',
    '::1',
    '1.2.3.-4',
  ])
    assert.equal(parseAddress(text), undefined, text);
  for (const text of ['1.2.3.4', '1.2.3.4/', '1.2.3.4/33', '1.2.3.4/1/2', '/8', '1.2.3.4/+8', '1.2.3.4/8 '])
    assert.equal(parseNetwork(text), undefined, text);
});

test('networks overlap exactly where one contains the other', () => {
  fc.assert(
    fc.property(network, network, (a, b) => assert.equal(overlaps(a, b), contains(a, b) || contains(b, a))),
  );
});
