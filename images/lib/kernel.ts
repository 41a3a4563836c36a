import { unpackLz4Legacy } from './lz4.ts';

const setupSectorsAt = 0x1f1;
const payloadOffsetAt = 0x248;
const payloadLengthAt = 0x24c;
const sectorBytes = 512;
/** The ELF note by which a kernel says that it can be entered directly, in 32-bit protected mode (PVH). */
const noteEntry = 18;
const noteName = Buffer.from('Xen\0');

/**
 * Takes the ELF kernel out of a `bzImage`: QEMU then enters it directly (PVH) and the guest never runs the
 * decompressor, which is half a second under emulation. Undefined when the payload is packed in another way or
 * the kernel has no PVH entry: then the `bzImage` itself is the kernel to boot.
 */
export function extractVmlinux(bzImage: Buffer): Buffer | undefined {
  if (bzImage.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined;
  const setupSectors = bzImage.readUInt8(setupSectorsAt) || 4;
  const from = (setupSectors + 1) * sectorBytes + bzImage.readUInt32LE(payloadOffsetAt);
  const packed = bzImage.subarray(from, from + bzImage.readUInt32LE(payloadLengthAt));
  if (packed.readUInt32LE(0) !== 0x184c2102) return undefined;
  const elf = unpackLz4Legacy(packed);
  if (elf.toString('latin1', 1, 4) !== 'ELF' || !hasPvhNote(elf)) return undefined;
  return dropSections(elf);
}

function hasPvhNote(elf: Buffer): boolean {
  const note = Buffer.alloc(16);
  note.writeUInt32LE(noteName.length, 0);
  note.writeUInt32LE(noteEntry, 8);
  noteName.copy(note, 12);
  for (const descriptionBytes of [4, 8]) {
    note.writeUInt32LE(descriptionBytes, 4);
    if (elf.includes(note)) return true;
  }
  return false;
}

/** Cuts what follows the last segment (symbols, section names) and forgets the sections: only segments are loaded. */
function dropSections(elf: Buffer): Buffer {
  const tableAt = Number(elf.readBigUInt64LE(32));
  const entryBytes = elf.readUInt16LE(54);
  const entries = elf.readUInt16LE(56);
  let end = 0;
  for (let i = 0; i < entries; i++) {
    const at = tableAt + i * entryBytes;
    end = Math.max(end, Number(elf.readBigUInt64LE(at + 8) + elf.readBigUInt64LE(at + 32)));
  }
  const cut = Buffer.from(elf.subarray(0, end));
  cut.writeBigUInt64LE(0n, 40);
  cut.writeUInt16LE(0, 60);
  cut.writeUInt16LE(0, 62);
  return cut;
}
