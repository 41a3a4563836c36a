/** What diagnostics find, and what the machine says of itself. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { testDisk, testMemory, testNetwork } from '#agent/rebuild/diagnostics.ts';
import { Machine } from '#agent/rebuild/machine.ts';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'pando-machine-'));
});
after(() => rm(root, { recursive: true, force: true }));

const put = async (path: string, text: string): Promise<void> => {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
};

test('sound memory passes; one bit that changes behind our back is found, in whatever place', async () => {
  assert.equal(await testMemory(4), undefined);
  for (const [part, byte] of [
    [0, 0],
    [2, 524_288],
    [3, 1_048_575],
  ] as const) {
    const fault = await testMemory(4, (memory) => {
      const cell = memory[part];
      if (cell !== undefined) cell[byte] = (cell[byte] ?? 0) ^ 1;
    });
    assert.match(fault ?? '', new RegExp(`MiB ${part} of 4`));
  }
});

test('two addresses that are one cell are found though each keeps every pattern', async () => {
  const fault = await testMemory(4, (memory) => {
    const [first] = memory;
    if (first !== undefined) memory[3]?.set(first);
  });
  assert.match(fault ?? '', /MiB 3 of 4/);
});

test('a sound disk passes and keeps no file; one that cannot be written to is told', async () => {
  assert.equal(await testDisk(root, 2), undefined);
  assert.equal(await testDisk(join(root, 'not-there'), 1).then((fault) => fault?.slice(0, 5)), 'disk:');
});

test('a card that gives back something else, has no carrier, or counts errors', async () => {
  const card = (answer: (data: string, loop: number) => { data: string; up: boolean; errors: number }) => {
    let loop = 0;
    return {
      rebuild: async (_method: string, { data }: { data?: string }) => {
        const { data: back, up, errors } = answer(data ?? '', loop++);
        return { data: back, underlay: { up, errors } };
      },
    } as unknown as Parameters<typeof testNetwork>[0];
  };
  assert.equal(await testNetwork(card((data) => ({ data, up: true, errors: 3 }))), undefined);
  assert.match(
    (await testNetwork(card((data) => ({ data: `${data.slice(1)}x`, up: true, errors: 0 })))) ?? '',
    /another/,
  );
  assert.match((await testNetwork(card((data) => ({ data, up: false, errors: 0 })))) ?? '', /no carrier/);
  assert.match((await testNetwork(card((data, loop) => ({ data, up: true, errors: loop })))) ?? '', /errors/);
});

test('firmware by component, error counters in sum, swap that is not memory itself, huge pages', async () => {
  const machine = new Machine(root);
  assert.deepEqual([await machine.firmware(), await machine.errors(), await machine.swaps()], [{}, 0, []]);
  await put('sys/class/dmi/id/bios_version', '2.4\n');
  await put('sys/class/nvme/nvme0/firmware_rev', 'GXA7  \n');
  await put('sys/devices/system/edac/mc/mc0/ce_count', '3\n');
  await put('sys/devices/system/edac/mc/mc1/ue_count', '1\n');
  await put('sys/block/sda/device/ioerr_cnt', '0x2\n');
  await put('proc/swaps', 'Filename\tType\n/dev/zram0 partition 1 0 5\n/dev/sda2 partition 9 0 -2\n');
  await put('sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', '0\n');
  assert.deepEqual(await machine.firmware(), { bios: '2.4', nvme0: 'GXA7' });
  assert.equal(await machine.errors(), 6);
  assert.deepEqual(await machine.swaps(), ['/dev/sda2']);
  assert.equal(await machine.setHugePages(8), 8);
  assert.equal(
    await readFile(join(root, 'sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages'), 'utf8'),
    '8',
  );
});
