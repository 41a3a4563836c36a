/** Images of guests that are a boot sector alone. */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '#base/exec.ts';
import { manifestDigest } from '#contracts/image-manifest.ts';

/**
 * A boot sector that counts rounds at 0x7000 and fills 0x10000–0x8ffff with the round's number: a guest whose memory
 * always changes and can be checked from outside.
 */
const bootSector = (): Buffer => {
  const sector = Buffer.alloc(512);
  Buffer.from('31c08ed866ff06007066a10070bb00108ec331ffb90040f366ab81c3001081fb009075ecebde', 'hex').copy(
    sector,
  );
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
};

/**
 * A boot sector that counts rounds at 0x7000 and in each writes 127 sectors of its disk by the firmware, from 1 MiB on up to
 * `endMib` and then from there again. A write that fails is tried again.
 */
export const writingSector = (endMib: number): Buffer => {
  const sector = Buffer.alloc(512);
  const code =
    '31c08ed8ff060070be407cb80043b280cd1372f0668306487c7f66813e487c0000000072df66c706487c00080000ebd4';
  Buffer.from(code, 'hex').copy(sector);
  sector.writeUInt32LE(endMib * 2048 - 127, 31);
  // The disk address packet: 127 sectors from 0x10000 to the sector 2048.
  Buffer.from('10007f00000000100008000000000000', 'hex').copy(sector, 0x40);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
};

export const imageMib = 4;

export interface TestImage {
  readonly digest: string;
  readonly files: Readonly<Record<string, Buffer>>;
}

/** An image whose disk is only that boot sector. */
export const makeImage = async (dir: string, sector = bootSector()): Promise<TestImage> => {
  const raw = join(dir, 'image.raw');
  const qcow2 = join(dir, 'image.qcow2');
  await writeFile(raw, Buffer.concat([sector, Buffer.alloc(imageMib * 1024 * 1024 - 512)]));
  await exec('qemu-img', ['convert', '-O', 'qcow2', raw, qcow2]);
  const disk = await readFile(qcow2);
  const described = {
    name: 'counter',
    description: '',
    architecture: 'x86_64',
    bootMode: 'bios',
    files: {
      disk: {
        path: 'disk.qcow2',
        sha256: createHash('sha256').update(disk).digest('hex'),
        bytes: disk.length,
        virtualBytes: imageMib * 1024 * 1024,
        format: 'qcow2',
      },
    },
    minMemoryMib: 16,
  };
  const digest = manifestDigest(described);
  return { digest, files: { disk, manifest: Buffer.from(JSON.stringify({ ...described, digest })) } };
};
