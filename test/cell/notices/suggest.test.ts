/** Alternatives that are worked out from what an account has run (S10.2). */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sizeOf } from '#cell/instance-types.ts';
import { usageObservedMsMin, usageSampleMs } from '#cell/limits.ts';
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

const measured = { vms: 3, vcpusMilli: 400, memoryMib: 150, networkMbps: 2 };

test('a smaller type that carries what is really used comes first, and says what was measured', () => {
  const [first] = suggest([optionOf('p1.large', 2)], [], measured);
  assert.deepEqual([first?.type, first?.count], ['p1.small', 2]);
  assert.match(first?.reason ?? '', /0\.40 vCPU, 150 MiB and 2 Mbit\/s lately \(3 measured\)/);
  const typeFor = (asked: string, need: Partial<typeof measured>, used: string[] = []): string | undefined =>
    suggest(
      [optionOf(asked, 1)],
      used.map((type) => ({ type, count: 1 })),
      { ...measured, ...need },
    )[0]?.type;
  assert.equal(typeFor('p1.large', { memoryMib: 256 }), 'p1.medium', 'a quarter more than was used');
  assert.equal(typeFor('p1.large', { networkMbps: 1_000 }), undefined, 'no smaller one has the network');
  assert.equal(typeFor('p1.large', { memoryMib: 900 }), undefined, 'it needs what it has');
  assert.equal(typeFor('p1.large', {}, ['custom.600m.200']), 'custom.600m.200', 'one that the account uses');
  assert.equal(typeFor('custom.4000m.4096', {}), 'custom.500m.192', 'a custom size for a custom size');
  assert.equal(
    typeFor('custom.4000m.4096+avx2', {}),
    'custom.500m.192+avx2',
    'with what it asks of its host',
  );
});

let server: TestDatabase;
before(async () => {
  server = await startTestDatabase();
});
after(() => server.stop());

test('of a real account: its own instances alone, after what it named', async () => {
  const cell = await TestCell.start({ url: server.url, stop: async () => undefined });
  try {
    // Room for all that waits here too: what is offered to a request is not there for a launch.
    cell.addHost({ capacity: { vcpus: 8, memoryMib: 4_096, diskMib: 100_000 } });
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
    const { services } = processor.cell;
    const [id = ''] = await launch(cell, processor, { more: { InstanceType: 'p1.medium' } });
    await running(processor, [id]);
    const vm = { instanceId: id, state: 'running', residentBytes: 90 * 1024 * 1024 } as const;
    const requirement = { vcpus: 1, memoryMib: 512, rootDiskMib: 1024 };
    const feed = (nowMs: number): void =>
      services.usage.look('h-1', [{ ...vm, requirement, cpuSeconds: nowMs / 10_000 }], nowMs);
    const suggested = async (account?: string) =>
      (
        await createRequest(processor, { instanceType: 'p1.medium', suggestAlternatives: true }, account)
      ).alternatives.map(({ instanceType }) => instanceType);
    feed(0);
    feed(usageObservedMsMin - 1);
    assert.deepEqual(await suggested(), [], 'not measured for long enough');
    feed(usageObservedMsMin + usageSampleMs);
    assert.deepEqual(await suggested(), ['p1.micro'], 'a tenth of a vCPU, 90 MiB');
    assert.deepEqual(await suggested('000000000999'), [], 'of others nothing is told');
    const stranger = await createRequest(processor, more, '000000000999');
    assert.deepEqual(
      stranger.alternatives.map(({ instanceType, count }) => [instanceType, count]),
      [['p1.nano', 2]],
    );
  } finally {
    await cell.stop();
  }
});
