/** Disk files of every kind, as people bring them: made by QEMU's own tools, packed, cut off, garbled. */
import assert from 'node:assert/strict';
import {
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { exec } from '#base/exec.ts';
import { PandoError } from '#contracts/errors.ts';
import { identifyDisk } from '#region/disk-format.ts';
import { importDisk } from '#region/disk-import.ts';

const mib = 1024 * 1024;
const diskBytes = 4 * mib;

describe('a disk file that is registered', () => {
  let dir: string;
  let raw: Buffer;
  before(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'pando-disk-'));
    raw = Buffer.alloc(diskBytes, 'p');
    raw.fill(0, 446, 510);
    raw.writeUInt16LE(0xaa55, 510);
    await writeFile(path.join(dir, 'raw'), raw);
  });
  after(() => rm(dir, { recursive: true, force: true }));

  /** Imports, and answers the disk's content as a guest reads it. */
  const imported = async (file: string): Promise<{ bytes: number; content: Buffer }> => {
    const scratch = await mkdtemp(path.join(dir, 'scratch-'));
    try {
      const bytes = await importDisk(path.join(dir, file), scratch);
      assert.deepEqual(await readdir(scratch), ['disk.qcow2'], 'nothing but the disk is left');
      await exec('qemu-img', [
        'convert',
        '-f',
        'qcow2',
        '-O',
        'raw',
        `${scratch}/disk.qcow2`,
        `${scratch}/out`,
      ]);
      return { bytes, content: await readFile(path.join(scratch, 'out')) };
    } finally {
      await rm(scratch, { recursive: true });
    }
  };
  const refused = async (file: string, why: RegExp): Promise<void> => {
    const error = await imported(file).then(
      () => assert.fail(`${file} was taken in`),
      (thrown: unknown) => PandoError.from(thrown),
    );
    assert.equal(error.code, 'InvalidParameterValue', `${file}: ${error.message}`);
    assert.match(error.message, why);
    assert.doesNotMatch(error.message, /pando-disk|prlimit|bwrap/, 'the machine’s own paths are not told');
  };
  const made = async (format: string, name = `made.${format}`, ...options: string[]): Promise<string> => {
    await exec('qemu-img', [
      'convert',
      '-f',
      'raw',
      '-O',
      format,
      ...options,
      `${dir}/raw`,
      `${dir}/${name}`,
    ]);
    return name;
  };

  for (const format of ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc'])
    it(`is read whole: ${format}, alone and packed`, async () => {
      const file = await made(format, `made.${format}`, ...(format === 'vpc' ? ['-o', 'force_size=on'] : []));
      const packed = await readFile(path.join(dir, file));
      await writeFile(path.join(dir, `${file}.gz`), gzipSync(packed, { level: 1 }));
      await writeFile(path.join(dir, `${file}.zst`), zstdCompressSync(packed));
      for (const name of [file, `${file}.gz`, `${file}.zst`]) {
        const { bytes, content } = await imported(name);
        assert.equal(bytes, diskBytes, name);
        assert.ok(content.equals(raw), name);
      }
    });

  it('a compressed VMDK of one file is read, one of several files is not', async () => {
    const one = await made('vmdk', 'stream.vmdk', '-o', 'subformat=streamOptimized');
    assert.ok((await imported(one)).content.equals(raw));
    await refused(
      await made('vmdk', 'flat.vmdk', '-o', 'subformat=monolithicFlat'),
      /data lies in other files/,
    );
  });

  it('what is no disk is refused by its name', async () => {
    const files: Record<string, [Buffer, RegExp]> = {
      empty: [Buffer.alloc(0), /is empty/],
      zeros: [Buffer.alloc(diskBytes), /boot sector/],
      text: [Buffer.from('hello\n'.repeat(1_000)), /boot sector/],
      xz: [Buffer.from('\xfd7zXZ\0rest', 'latin1'), /xz/],
      zip: [Buffer.from('PK\x03\x04rest', 'latin1'), /ZIP/],
      luks: [Buffer.from('LUKS\xba\xbe\0\x01'.padEnd(4096, '\0'), 'latin1'), /encrypted/],
      tar: [Buffer.concat([Buffer.alloc(257), Buffer.from('ustar'), Buffer.alloc(300)]), /tar archive/],
      twice: [gzipSync(gzipSync(raw)), /packed twice/],
      'packed text': [gzipSync('hello'), /boot sector/],
      'gzip cut off': [gzipSync(raw).subarray(0, 3_000), /cannot be unpacked/],
      'zstd garbled': [
        Buffer.concat([Buffer.from('\x28\xb5\x2f\xfd', 'latin1'), Buffer.alloc(50, 'x')]),
        /cannot be unpacked/,
      ],
    };
    for (const [name, [content, why]] of Object.entries(files)) {
      await writeFile(path.join(dir, name), content);
      await refused(name, why);
    }
  });

  it('one that refers to other files, is encrypted or is beyond any size is refused', async () => {
    await exec('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', '/etc/passwd', '-F', 'raw', `${dir}/sly`]);
    await refused('sly', /refers to other files/);
    await exec('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-o',
      `data_file=${dir}/data,data_file_raw=on`,
      `${dir}/sly2`,
      '1M',
    ]);
    await refused('sly2', /refers to other files|cannot be read/);
    const secret = [
      '--object',
      'secret,id=s,data=x',
      '-o',
      'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10',
    ];
    await exec('qemu-img', ['create', '-q', '-f', 'qcow2', ...secret, `${dir}/locked`, '1M']);
    await refused('locked', /encrypted|cannot be read/);
    await exec('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'cluster_size=2M', `${dir}/huge`, '1P']);
    await refused('huge', /outside/);
  });

  it('one that was cut off or garbled is refused', async () => {
    const cut = await made('qcow2', 'cut');
    await truncate(path.join(dir, cut), (await stat(path.join(dir, cut))).size / 2);
    await refused(cut, /damaged|cut off|cannot be/);
    const garbled = await made('qcow2', 'garbled');
    const handle = await open(path.join(dir, garbled), 'r+');
    await handle.write(Buffer.alloc(64 * 1024, 0xff), 0, 64 * 1024, 64 * 1024);
    await handle.close();
    await refused(garbled, /damaged|cannot be/);
    const table = Buffer.from(raw.subarray(0, mib));
    table.set([0x80, 0, 0, 0, 0x83, 0, 0, 0], 446);
    table.writeUInt32LE(2_048, 454);
    table.writeUInt32LE(65_536, 458);
    await writeFile(path.join(dir, 'short'), table);
    await refused('short', /cut off/);
  });

  it('the reader sees no other file and no network', async () => {
    // A link inside the scratch directory leads to nothing in the jail.
    const scratch = path.join(dir, 'links');
    await mkdir(scratch);
    await symlink('/etc/passwd', path.join(dir, 'to-passwd'));
    await assert.rejects(importDisk(path.join(dir, 'to-passwd'), scratch), { code: 'InvalidParameterValue' });
  });

  it('any bytes are told or refused, never thrown over', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4_096 }), fc.boolean(), (bytes, boots) => {
        const head = Buffer.from(bytes);
        if (boots && head.length >= 512) head.writeUInt16LE(0xaa55, 510);
        const found = identifyDisk(head, head.subarray(-512), head.length);
        assert.ok(['disk', 'packed', 'refused'].includes(found.kind));
      }),
    );
  });
});
