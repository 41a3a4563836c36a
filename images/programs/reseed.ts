import { Assembler } from './assembler.ts';

const chunkBytes = 512;

/**
 * `reseed <FILE`: credits what it reads to the kernel's entropy pool and reseeds the generator at once. Clones of one
 * snapshot would otherwise draw the same "random" numbers, for up to a minute, and make the same keys.
 * The kernel's `rand_pool_info` lies at `pool`: bits, bytes, data. r12 is the descriptor of /dev/urandom.
 */
export function reseedProgram(): Buffer {
  const a = new Assembler();
  a.toLabel([0x48, 0x8d, 0x3d], 'device'); //  lea rdi, [device]
  a.code(0xbe, 2, 0, 0, 0); //                 mov esi, 2              O_RDWR
  a.syscall('open');
  a.code(0x85, 0xc0); //                       test eax, eax
  a.toLabel([0x0f, 0x88], 'fail'); //          js fail
  a.code(0x41, 0x89, 0xc4); //                 mov r12d, eax

  a.label('chunk');
  a.code(0x31, 0xff); //                       xor edi, edi
  a.toLabel([0x48, 0x8d, 0x35], 'poolData'); // lea rsi, [poolData]
  a.code(0xba, chunkBytes & 255, chunkBytes >> 8, 0, 0); // mov edx, chunkBytes
  a.syscall('read');
  a.code(0x85, 0xc0); //                       test eax, eax
  a.toLabel([0x0f, 0x8e], 'reseed'); //        jle reseed
  a.toLabel([0x89, 0x05], 'poolBytes'); //     mov [poolBytes], eax
  a.code(0xc1, 0xe0, 0x03); //                 shl eax, 3
  a.toLabel([0x89, 0x05], 'pool'); //          mov [pool], eax         bits
  a.code(0x44, 0x89, 0xe7); //                 mov edi, r12d
  a.code(0xbe, 0x03, 0x52, 0x08, 0x40); //     mov esi, RNDADDENTROPY
  a.toLabel([0x48, 0x8d, 0x15], 'pool'); //    lea rdx, [pool]
  a.syscall('ioctl');
  a.toLabel([0xe9], 'chunk'); //               jmp chunk

  a.label('reseed');
  a.code(0x44, 0x89, 0xe7); //                 mov edi, r12d
  a.code(0xbe, 0x07, 0x52, 0, 0); //           mov esi, RNDRESEEDCRNG
  a.code(0x31, 0xd2); //                       xor edx, edx
  a.syscall('ioctl');
  a.code(0x31, 0xff); //                       xor edi, edi
  a.code(0x85, 0xc0); //                       test eax, eax
  a.toLabel([0x0f, 0x89], 'end'); //           jns end
  a.label('fail');
  a.code(0xbf, 1, 0, 0, 0); //                 mov edi, 1
  a.label('end');
  a.syscall('exit');

  a.label('device').data(Buffer.from('/dev/urandom\0'));
  a.label('pool').data(Buffer.alloc(4));
  a.label('poolBytes').data(Buffer.alloc(4));
  a.label('poolData').data(Buffer.alloc(chunkBytes));
  return a.elf(0);
}
