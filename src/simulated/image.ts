/** The image of simulated VMs: as little as the region takes in as one. No guest is ever started from it. */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { manifestDigest } from '#contracts/image-manifest.ts';

const qcow2 = { magic: 0x514649fb, version: 3, headerBytes: 512, sizeAt: 24 } as const;
const virtualBytes = 256 * 1024 ** 2;
/** The smallest type has this much. */
const minMemoryMib = 64;
export const imageName = 'pando-simulated';

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

/** Writes the image's directory below `parent`, as builders do. The same bytes each time, hence the same id. */
export const writeSimulatedImage = async (parent: string): Promise<string> => {
  const directory = join(parent, imageName);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const disk = Buffer.alloc(qcow2.headerBytes);
  disk.writeUInt32BE(qcow2.magic, 0);
  disk.writeUInt32BE(qcow2.version, 4);
  disk.writeBigUInt64BE(BigInt(virtualBytes), qcow2.sizeAt);
  await writeFile(join(directory, 'disk.qcow2'), disk);
  const described = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'x86_64',
    bootMode: 'bios',
    description: 'An image for simulated VMs',
    files: {
      disk: { bytes: disk.length, format: 'qcow2', path: 'disk.qcow2', sha256: sha256(disk), virtualBytes },
    },
    minMemoryMib,
    name: imageName,
    recipe: 'simulated',
  };
  const digest = manifestDigest(described);
  await writeFile(join(directory, 'manifest.json'), JSON.stringify({ ...described, digest }));
  return directory;
};
