const loadAddress = 0x400000n;
const elfHeaderBytes = 64;
const programHeaderBytes = 56;
const codeAt = elfHeaderBytes + programHeaderBytes;

/** The Linux system calls that the guest's programs use, by their x86-64 numbers. */
export const syscalls = {
  read: 0,
  open: 2,
  mmap: 9,
  ioctl: 16,
  pwrite: 18,
  nanosleep: 35,
  exit: 60,
} as const;

/**
 * As much of an assembler as two small programs need: bytes, labels and near jumps. An image can so carry
 * a native program although no compiler is on the machine that builds it.
 */
export class Assembler {
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #patches: { at: number; label: string }[] = [];

  /** Appends machine code as it stands; the caller's comment names the instruction. */
  code(...bytes: number[]): this {
    this.#bytes.push(...bytes);
    return this;
  }

  /** Appends text or data. */
  data(data: Buffer): this {
    this.#bytes.push(...data);
    return this;
  }

  /** Names the present place. */
  label(name: string): this {
    if (this.#labels.has(name)) throw new RangeError(`label ${name} stands twice`);
    this.#labels.set(name, this.#bytes.length);
    return this;
  }

  /** Appends an instruction that ends in a 32-bit displacement to `label` from the instruction's end: a jump, or RIP-relative. */
  toLabel(opcode: readonly number[], label: string): this {
    this.code(...opcode);
    this.#patches.push({ at: this.#bytes.length, label });
    return this.code(0, 0, 0, 0);
  }

  /** `mov eax, number; syscall`: arguments are in rdi, rsi, rdx, r10, r8, r9; rcx and r11 are lost. */
  syscall(name: keyof typeof syscalls): this {
    return this.code(0xb8, syscalls[name], 0, 0, 0, 0x0f, 0x05);
  }

  /** The program as a static ELF file with one segment, readable, writable and executable, and `zeroBytes` of room behind it. */
  elf(zeroBytes: number): Buffer {
    const code = Buffer.from(this.#bytes);
    for (const { at, label } of this.#patches) {
      const place = this.#labels.get(label);
      if (place === undefined) throw new RangeError(`no label ${label}`);
      code.writeInt32LE(place - (at + 4), at);
    }
    return Buffer.concat([elfHeader(), programHeader(codeAt + code.length, zeroBytes), code]);
  }
}

function elfHeader(): Buffer {
  const header = Buffer.alloc(elfHeaderBytes);
  header.write('\x7fELF\x02\x01\x01', 'latin1'); // 64 bits, little-endian, version 1
  header.writeUInt16LE(2, 16); // executable
  header.writeUInt16LE(62, 18); // x86-64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(loadAddress + BigInt(codeAt), 24); // entry
  header.writeBigUInt64LE(BigInt(elfHeaderBytes), 32); // program headers follow
  header.writeUInt16LE(elfHeaderBytes, 52);
  header.writeUInt16LE(programHeaderBytes, 54);
  header.writeUInt16LE(1, 56);
  return header;
}

function programHeader(fileBytes: number, zeroBytes: number): Buffer {
  const header = Buffer.alloc(programHeaderBytes);
  header.writeUInt32LE(1, 0); // load
  header.writeUInt32LE(7, 4); // read, write, execute
  header.writeBigUInt64LE(loadAddress, 16);
  header.writeBigUInt64LE(loadAddress, 24);
  header.writeBigUInt64LE(BigInt(fileBytes), 32);
  header.writeBigUInt64LE(BigInt(fileBytes + zeroBytes), 40);
  header.writeBigUInt64LE(0x1000n, 48);
  return header;
}
