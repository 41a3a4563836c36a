/** What VMs use, as it is concluded from their hosts' reports. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageBook } from '#cell/hosts/usage.ts';
import { usageKeptMs, usageSampleMs } from '#cell/limits.ts';
import type { VmReport } from '#contracts/host.ts';

const mib = 1024 * 1024;
const report = (cpuSeconds: number, more: Partial<VmReport> = {}): VmReport => ({
  ...{ instanceId: 'i-1', state: 'running', requirement: { vcpus: 4, memoryMib: 4_096, rootDiskMib: 1 } },
  ...{ cpuSeconds, residentBytes: 300 * mib, rxBytes: 0, txBytes: 0 },
  ...more,
});

/** Reports at a regular pace: seconds of its processors in each sample. */
const fed = (samples: readonly number[], more: (at: number) => Partial<VmReport> = () => ({})): UsageBook => {
  const book = new UsageBook();
  let cpuSeconds = 0;
  for (const [at, seconds] of [0, ...samples].entries()) {
    cpuSeconds += seconds;
    book.look('h-1', [report(cpuSeconds, more(at))], at * usageSampleMs);
  }
  return book;
};
const sampleSeconds = usageSampleMs / 1000;

test('the most of each sample counts; a burst within one is spread over it', () => {
  const used = fed([sampleSeconds / 2, sampleSeconds, sampleSeconds / 4], (at) => ({
    rxBytes: at * 1_000,
    txBytes: at * sampleSeconds * 1_000_000,
  })).of('i-1');
  assert.equal(used?.vcpusMilli, 1_000);
  assert.equal(used?.memoryMib, 300);
  assert.equal(used?.networkMbps, 8);
  assert.equal(used?.observedMs, 3 * usageSampleMs);
});

test('reports that come closer together are one sample', () => {
  const book = new UsageBook();
  for (let second = 0; second <= sampleSeconds; second++)
    book.look('h-1', [report(second === 1 ? 1 : second > 1 ? 1 : 0)], second * 1000);
  assert.ok((book.of('i-1')?.vcpusMilli ?? 0) < 40, 'one busy second of thirty');
});

test('a VMM that began anew, on this host or another, is no use between; the peak stays', () => {
  const book = fed([sampleSeconds]);
  book.look('h-1', [report(0)], 2 * usageSampleMs);
  book.look('h-2', [report(90)], 3 * usageSampleMs);
  book.look('h-2', [report(90)], 4 * usageSampleMs);
  const used = book.of('i-1');
  assert.equal(used?.vcpusMilli, 1_000);
  assert.equal(used?.observedMs, 2 * usageSampleMs);
});

test('a peak is forgotten after twice the time for which it is kept, and not before that time', () => {
  const each = usageKeptMs / usageSampleMs;
  const quiet = (count: number): number[] => Array.from({ length: count }, () => 0);
  assert.equal(fed([sampleSeconds, ...quiet(each)]).of('i-1')?.vcpusMilli, 1_000);
  assert.equal(fed([sampleSeconds, ...quiet(2 * each + 1)]).of('i-1')?.vcpusMilli, 0);
});

test('of a host that counts nothing, and of a VM that does not run, nothing is known', () => {
  const book = new UsageBook();
  const { cpuSeconds: _, ...silent } = report(1);
  book.look('h-1', [silent, report(1, { instanceId: 'i-2', state: 'incoming' })], 0);
  assert.equal(book.of('i-1'), undefined);
  assert.equal(book.of('i-2'), undefined);
});
