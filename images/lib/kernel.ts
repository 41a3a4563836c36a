import { spawn } from 'node:child_process';
import { buffer } from 'node:stream/consumers';

const setupSectorsAt = 0x1f1;
const payloadOffsetAt = 0x248;
const payloadLengthAt = 0x24c;
const sectorBytes = 512;
/** The ELF note by which a kernel says that it can be entered directly, in 32-bit protected mode (PVH). */
const noteEntry = 18;
const noteName = Buffer.from('Xen\0');
/** An LZ4 frame of the legacy form, in which the kernel carries its own compressed payload. */
const lz4LegacyMagic = 0x184c2102;
/** Behind the frame stands the unpacked size, which is no part of it. */
const sizeBytes = 4;

/**
 * Takes the ELF kernel out of a `bzImage`: QEMU then enters it directly (PVH) and the guest never runs the
 * decompressor, which is half a second under emulation. Undefined when the payload is packed in another way or
 * the kernel has no PVH entry: then the `bzImage` itself is the kernel to boot.
 */
export async function extractVmlinux(bzImage: Buffer): Promise<Buffer | undefined> {
  if (bzImage.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined;
  const setupSectors = bzImage.readUInt8(setupSectorsAt) || 4;
  const from = (setupSectors + 1) * sectorBytes + bzImage.readUInt32LE(payloadOffsetAt);
  const packed = bzImage.subarray(from, from + bzImage.readUInt32LE(payloadLengthAt));
  if (packed.readUInt32LE(0) !== lz4LegacyMagic) return undefined;
  const elf = await unpackLz4(packed.subarray(0, -sizeBytes));
  if (elf.toString('latin1', 1, 4) !== 'ELF' || !hasPvhNote(elf)) return undefined;
  return dropSections(elf);
}

/** Unpacks by Debian's `lz4`. Rejects with its complaint where the frame is damaged. */
async function unpackLz4(frame: Buffer): Promise<Buffer> {
  const child = spawn('lz4', ['--decompress', '--stdout', '--quiet'], { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  // A program that ends early breaks the pipe: its exit code tells why.
  child.stdin.on('error', () => undefined).end(frame);
  const [unpacked, complaint, code] = await Promise.all([buffer(child.stdout), buffer(child.stderr), ended]);
  if (code !== 0) throw new Error(`lz4 ended with ${code}: ${complaint.toString().trim()}`);
  return unpacked;
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
