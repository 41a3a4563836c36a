/** Alternatives that are worked out from what an account has run (S10.2). */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sizeOf } from '#cell/instance-types.ts';
import { suggest, suggestionsMax } from '#cell/notices/suggest.ts';
import { startTestDatabase, type TestDatabase } from '../../base/postgres/test-database.ts';
import { TestCell } from '../support/harness.ts';
import { createRequest, launch, running } from './support.ts';

const optionOf = (type: string, count: number) => {
  const { vcpusMilli, memoryMib, networkMbps } = sizeOf(type);
  return { type, count, amount: { vcpusMilli, memoryMib, networkMbps, diskMib: 1024 } };
};

test('types that the account uses, none smaller than what was asked for, each with a reason', () => {
  const used = [
    { type: 'custom.100m.64', count: 40 },
    { type: 'custom.2000m.2048', count: 9 },
    { type: 'custom.1000m.1024', count: 5 },
    { type: 'of.a.former.release', count: 3 },
    { type: 'custom.4000m.4096', count: 1 },
  ];
  const found = suggest([optionOf('custom.1000m.1024', 4)], used);
  assert.deepEqual(
    found.map(({ type, count }) => [type, count]),
    [
      ['custom.2000m.2048', 4],
      ['custom.2000m.2048', 2],
      ['custom.4000m.4096', 4],
    ],
  );
  assert.equal(found.length, suggestionsMax);
  for (const { reason } of found) assert.match(reason ?? '', /^You have run [91] of this type/);
});

test('what the client named is not repeated; without a history it is the quantity that differs', () => {
  const asked = optionOf('custom.1000m.1024', 4);
  const named = { ...asked, count: 2 };
  assert.deepEqual(suggest([asked, named], []), []);
  assert.deepEqual(
    suggest([asked], []).map(({ type, count }) => [type, count]),
    [['custom.1000m.1024', 2]],
  );
  assert.deepEqual(suggest([optionOf('custom.1000m.1024', 1)], []), []);
});

let server: TestDatabase;
before(async () => {
  server = await startTestDatabase();
});
after(() => server.stop());

test('of a real account: its own instances alone, after what it named', async () => {
  const cell = await TestCell.start({ url: server.url, stop: async () => undefined });
  try {
    cell.addHost({ capacity: { vcpus: 2, memoryMib: 1_024, diskMib: 100_000 } });
    const processor = await cell.addProcessor();
    await running(processor, await launch(cell, processor, { count: 2, more: { InstanceType: 'p1.small' } }));
    const more = { instanceType: 'p1.nano', count: 4, suggestAlternatives: true };
    const { alternatives } = await createRequest(processor, { ...more, alternatives: [{ count: 3 }] });
    assert.deepEqual(
      alternatives.map(({ instanceType, count }) => [instanceType, count]),
      [
        ['p1.nano', 3],
        ['p1.small', 4],
        ['p1.small', 2],
        ['p1.nano', 2],
      ],
    );
    const stranger = await createRequest(processor, more, '000000000999');
    assert.deepEqual(
      stranger.alternatives.map(({ instanceType, count }) => [instanceType, count]),
      [['p1.nano', 2]],
    );
  } finally {
    await cell.stop();
  }
});
