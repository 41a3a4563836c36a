/**
 * What a disk file is, by its content and never by its name: as qemu-img's own probing takes whatever it does not know for a raw disk,
 * a file must be known here first.
 */

/** Bytes from the beginning that decide. */
export const headBytes = 64 * 1024;

export type DiskFormat = 'qcow2' | 'vmdk' | 'vdi' | 'vhdx' | 'vpc' | 'raw';

export type Identified =
  | { readonly kind: 'disk'; readonly format: DiskFormat }
  | { readonly kind: 'packed'; readonly by: 'gzip' | 'zstd' }
  /** `name`: what it is instead, or what is wrong with it, for the one who registers it. */
  | { readonly kind: 'refused'; readonly name: string };

interface Signature {
  readonly at: number;
  readonly bytes: string;
  readonly is: Identified;
}

const disk = (format: DiskFormat): Identified => ({ kind: 'disk', format });
const refused = (name: string): Identified => ({ kind: 'refused', name });

/** In the order in which they are tried. Bytes are Latin-1 text. */
const signatures: readonly Signature[] = [
  { at: 0, bytes: 'QFI\xfb', is: disk('qcow2') },
  { at: 0, bytes: 'KDMV', is: disk('vmdk') },
  { at: 0, bytes: 'COWD', is: refused('a VMDK of ESX 3 and older (COWD)') },
  { at: 0, bytes: '# Disk DescriptorFile', is: refused('a VMDK descriptor whose data lies in other files') },
  { at: 64, bytes: '\x7f\x10\xda\xbe', is: disk('vdi') },
  { at: 0, bytes: 'vhdxfile', is: disk('vhdx') },
  { at: 0, bytes: 'conectix', is: disk('vpc') },
  { at: 0, bytes: '\x1f\x8b', is: { kind: 'packed', by: 'gzip' } },
  { at: 0, bytes: '\x28\xb5\x2f\xfd', is: { kind: 'packed', by: 'zstd' } },
  { at: 0, bytes: 'LUKS\xba\xbe', is: refused('encrypted (LUKS)') },
  { at: 0, bytes: 'QED\0', is: refused('a QED disk') },
  { at: 0, bytes: 'WithoutFreeSpace', is: refused('a Parallels disk') },
  { at: 0, bytes: 'WithouFreSpacExt', is: refused('a Parallels disk') },
  { at: 0, bytes: '\xfd7zXZ\0', is: refused('packed by xz') },
  { at: 0, bytes: 'BZh', is: refused('packed by bzip2') },
  { at: 0, bytes: 'PK\x03\x04', is: refused('a ZIP archive') },
  { at: 0, bytes: "7z\xbc\xaf'\x1c", is: refused('a 7z archive') },
  { at: 0, bytes: '\x7fELF', is: refused('a program or kernel (ELF)') },
  { at: 257, bytes: 'ustar', is: refused('a tar archive (an OVA is one too: take the disk out of it)') },
  { at: 0x8001, bytes: 'CD001', is: refused('a CD image (ISO 9660)') },
];

const sectorBytes = 512;
const partitionTableAt = 446;
const partitionBytes = 16;

const matches = (head: Buffer, { at, bytes }: Signature): boolean =>
  head.toString('latin1', at, at + bytes.length) === bytes;

/**
 * What the file of `sizeBytes` that begins with `head` is. `tail`: its last 512 bytes, where a fixed VHD has its footer.
 * A raw disk is known by its boot sector, and must be as long as its partition table says.
 */
export const identifyDisk = (head: Buffer, tail: Buffer, sizeBytes: number): Identified => {
  if (sizeBytes === 0) return refused('empty');
  const found = signatures.find((signature) => matches(head, signature));
  if (found !== undefined) return found.is;
  if (tail.toString('latin1', 0, 8) === 'conectix') return disk('vpc');
  if (head.length < sectorBytes || head.readUInt16LE(510) !== 0xaa55)
    return refused('neither of a format that is known here nor a raw disk with a boot sector');
  const sectors = sectorsOf(head);
  if (sectors * sectorBytes > sizeBytes)
    return refused(
      `cut off: its partition table speaks of ${sectors * sectorBytes} bytes, it has ${sizeBytes}`,
    );
  return disk('raw');
};

/** How many sectors the partition table of a raw disk speaks of; 0: it has none. */
const sectorsOf = (head: Buffer): number => {
  // GPT: the backup of its header stands in the disk's last sector.
  if (head.length >= 2 * sectorBytes && head.toString('latin1', sectorBytes, sectorBytes + 8) === 'EFI PART')
    return Number(head.readBigUInt64LE(sectorBytes + 32)) + 1;
  const ends = [0, 1, 2, 3].map((index) => {
    const at = partitionTableAt + index * partitionBytes;
    const status = head.readUInt8(at);
    // A boot sector of a file system has code where others have a table.
    if ((status !== 0 && status !== 0x80) || head.readUInt8(at + 4) === 0) return 0;
    return head.readUInt32LE(at + 8) + head.readUInt32LE(at + 12);
  });
  return Math.max(...ends);
};
