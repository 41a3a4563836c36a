/** What a host says that it can do, out of the kernel's own files. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { hostCapabilities } from '#agent/capabilities.ts';
import { readKernelFile } from '#agent/kernel-files.ts';
import { findSize } from '#cell/instance-types.ts';
import { hostEventsContract } from '#contracts/host.ts';

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pci-'));
});
after(() => rm(directory, { recursive: true, force: true }));

/** A directory of devices as sysfs has it. */
const pci = async (name: string, classes: readonly string[]): Promise<string> => {
  const dir = join(directory, name);
  for (const [at, value] of classes.entries()) {
    await mkdir(join(dir, `0000:00:0${at}.0`), { recursive: true });
    await writeFile(join(dir, `0000:00:0${at}.0`, 'class'), `${value}\n`);
  }
  return dir;
};

const cpuinfo = `processor	: 0
vendor_id	: GenuineIntel
flags		: fpu vme aes xsave avx rdrand avx2 sha_ni svmx notavx512f
bugs		: spectre_v1
processor	: 1
flags		: fpu avx512f
`;

test('features of the first processor that guests ask for, by whole words, in an order of their own', () => {
  assert.deepEqual(hostCapabilities(cpuinfo, join(directory, 'absent')), ['aes', 'avx', 'avx2', 'sha_ni']);
});

test('no flags, an empty file, another architecture: nothing, and no error', () => {
  for (const text of ['', 'flags', 'flags\t\t:\n', 'Features\t: fp asimd aes\n'])
    assert.deepEqual(hostCapabilities(text, join(directory, 'absent')), [], JSON.stringify(text));
});

test('a graphics processor or an accelerator is a gpu; a screen’s controller, a network card are none', async () => {
  const of = async (name: string, ...classes: string[]): Promise<string[]> =>
    hostCapabilities('', await pci(name, classes));
  assert.deepEqual(await of('plain', '0x020000', '0x030000', '0x010802'), []);
  assert.deepEqual(await of('threeD', '0x020000', '0x030200'), ['gpu']);
  assert.deepEqual(await of('accelerator', '0x120000'), ['gpu']);
  // A device whose file cannot be read.
  await mkdir(join(directory, 'odd', '0000:00:00.0'), { recursive: true });
  assert.deepEqual(hostCapabilities('', join(directory, 'odd')), []);
});

test('of this machine: what its processors say, fit for a hello and for the name of a type', () => {
  const found = hostCapabilities();
  const flags = /^flags\s*:(.*)$/m.exec(readKernelFile('/proc/cpuinfo') ?? '')?.[1] ?? '';
  for (const each of found) if (each !== 'gpu') assert.ok(flags.split(' ').includes(each), each);
  const { capabilities } = hostEventsContract['host.hello'].params.shape;
  assert.deepEqual(capabilities.parse(found), found);
  for (const each of found) assert.deepEqual(findSize(`custom.1000m.1024+${each}`)?.needs, [each]);
});
