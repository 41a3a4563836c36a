/** One entry of an initramfs archive. Paths have no leading slash; parents come before children. */
export type CpioEntry =
  | { kind: 'directory'; path: string }
  | { kind: 'file'; path: string; mode: number; data: Buffer }
  | { kind: 'symlink'; path: string; target: string }
  | { kind: 'character-device'; path: string; mode: number; major: number; minor: number };

const typeBits = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  'character-device': 0o020000,
} as const;

/** Writes a `newc` cpio archive, the format of the kernel's initramfs, owned by root and with no times in it. */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const parts = entries.map((entry, index) => record(entry, index + 1));
  parts.push(header({ name: 'TRAILER!!!', inode: 0, mode: 0, data: Buffer.alloc(0), major: 0, minor: 0 }));
  return Buffer.concat(parts);
}

function record(entry: CpioEntry, inode: number): Buffer {
  const bits = typeBits[entry.kind];
  const plain = { name: entry.path, inode, data: Buffer.alloc(0), major: 0, minor: 0 };
  switch (entry.kind) {
    case 'directory':
      return header({ ...plain, mode: bits | 0o755 });
    case 'file':
      return header({ ...plain, mode: bits | entry.mode, data: entry.data });
    case 'symlink':
      return header({ ...plain, mode: bits | 0o777, data: Buffer.from(entry.target) });
    case 'character-device':
      return header({ ...plain, mode: bits | entry.mode, major: entry.major, minor: entry.minor });
  }
}

interface Raw {
  name: string;
  inode: number;
  mode: number;
  data: Buffer;
  major: number;
  minor: number;
}

function header(raw: Raw): Buffer {
  const name = Buffer.from(`${raw.name}\0`);
  const fields = [
    raw.inode,
    raw.mode,
    0,
    0,
    1,
    0,
    raw.data.length,
    0,
    0,
    raw.major,
    raw.minor,
    name.length,
    0,
  ];
  const hex = fields.map((field) => field.toString(16).padStart(8, '0')).join('');
  return Buffer.concat([padded(Buffer.concat([Buffer.from(`070701${hex}`), name])), padded(raw.data)]);
}

/** Names and bodies both end on a four-byte boundary. */
function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc(-data.length & 3)]);
}
