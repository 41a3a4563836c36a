const legacyMagic = 0x184c2102;
/** A legacy frame's blocks unpack to at most 8 MiB each. */
const blockBytesMax = 8 * 1024 * 1024;
const matchBytesMin = 4;

/**
 * Unpacks an LZ4 legacy frame, the form in which the Linux kernel carries its own compressed payload.
 * Trailing bytes too short to be a block (the kernel appends the unpacked size) are ignored.
 * Throws `RangeError` on a frame that is not LZ4 legacy or is damaged.
 */
export function unpackLz4Legacy(frame: Buffer): Buffer {
  if (frame.length < 8 || frame.readUInt32LE(0) !== legacyMagic)
    throw new RangeError('not an LZ4 legacy frame');
  const blocks: Buffer[] = [];
  let at = 4;
  while (at + 4 <= frame.length) {
    const packedBytes = frame.readUInt32LE(at);
    at += 4;
    if (packedBytes === legacyMagic) continue;
    if (packedBytes === 0 || at + packedBytes > frame.length) break;
    blocks.push(unpackBlock(frame.subarray(at, at + packedBytes)));
    at += packedBytes;
  }
  if (blocks.length === 0) throw new RangeError('an LZ4 frame without a block');
  return Buffer.concat(blocks);
}

function unpackBlock(packed: Buffer): Buffer {
  const out = Buffer.allocUnsafe(blockBytesMax);
  let from = 0;
  let to = 0;

  const longLength = (short: number): number => {
    let length = short;
    if (short !== 15) return length;
    let byte: number;
    do {
      byte = packed.readUInt8(from++);
      length += byte;
    } while (byte === 255);
    return length;
  };

  while (from < packed.length) {
    const token = packed.readUInt8(from++);
    const literals = longLength(token >> 4);
    if (from + literals > packed.length || to + literals > out.length)
      throw new RangeError('torn LZ4 literals');
    packed.copy(out, to, from, from + literals);
    from += literals;
    to += literals;
    if (from >= packed.length) break; // the last sequence has literals only

    const offset = packed.readUInt16LE(from);
    from += 2;
    const length = longLength(token & 15) + matchBytesMin;
    if (offset === 0 || offset > to || to + length > out.length) throw new RangeError('torn LZ4 match');
    copyMatch(out, to, offset, length);
    to += length;
  }
  return out.subarray(0, to);
}

/** A match may overlap what it writes: then its bytes repeat with the period `offset`. */
function copyMatch(out: Buffer, to: number, offset: number, length: number): void {
  if (offset >= length) {
    out.copyWithin(to, to - offset, to - offset + length);
    return;
  }
  for (let i = 0; i < length; i++) out[to + i] = out[to + i - offset] ?? 0;
}
