import { Assembler } from './assembler.ts';

/**
 * `memcheck MIB PAUSE_MS`: a witness that memory survives migration, swap and restore. It maps MIB mebibytes and
 * goes over them in rounds. Every 512 bytes lies a word `round << 32 | index`; each round first checks that the
 * word is the one that the round before wrote, counts it as an error if not, then writes its own. After each round
 * it writes `round=… errors=…` (16 hexadecimal digits each) at the start of its standard output, a file, and pauses.
 *
 * Registers: r12 bytes, r13 base, r14 round, r15 errors, rbp 0 in the first round (memory is still zero) and −1
 * afterwards, rbx offset.
 */
export function memcheckProgram(): Buffer {
  const a = new Assembler();
  a.code(0x48, 0x8b, 0x74, 0x24, 0x10); //     mov rsi, [rsp+16]       argv[1]
  a.toLabel([0xe8], 'decimal'); //             call decimal
  a.code(0x49, 0x89, 0xc4); //                 mov r12, rax
  a.code(0x49, 0xc1, 0xe4, 0x14); //           shl r12, 20
  a.code(0x48, 0x8b, 0x74, 0x24, 0x18); //     mov rsi, [rsp+24]       argv[2]
  a.toLabel([0xe8], 'decimal'); //             call decimal
  a.code(0x31, 0xd2); //                       xor edx, edx
  a.code(0xb9, 0xe8, 0x03, 0, 0); //           mov ecx, 1000
  a.code(0x48, 0xf7, 0xf1); //                 div rcx                 rax seconds, rdx milliseconds
  a.toLabel([0x48, 0x89, 0x05], 'pause'); //   mov [pause], rax
  a.code(0x48, 0x69, 0xd2, 0x40, 0x42, 0x0f, 0); // imul rdx, rdx, 1000000
  a.toLabel([0x48, 0x89, 0x15], 'pauseNs'); // mov [pauseNs], rdx

  a.code(0x31, 0xff); //                       xor edi, edi
  a.code(0x4c, 0x89, 0xe6); //                 mov rsi, r12
  a.code(0xba, 3, 0, 0, 0); //                 mov edx, 3              read and write
  a.code(0x41, 0xba, 0x22, 0, 0, 0); //        mov r10d, 0x22          private, anonymous
  a.code(0x49, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff); // mov r8, -1
  a.code(0x45, 0x31, 0xc9); //                 xor r9d, r9d
  a.syscall('mmap');
  a.code(0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff); // cmp rax, -4095
  a.toLabel([0x0f, 0x83], 'fail'); //          jae fail
  a.code(0x49, 0x89, 0xc5); //                 mov r13, rax
  a.code(0x41, 0xbe, 1, 0, 0, 0); //           mov r14d, 1
  a.code(0x45, 0x31, 0xff); //                 xor r15d, r15d
  a.code(0x31, 0xed); //                       xor ebp, ebp

  a.label('round');
  a.code(0x31, 0xdb); //                       xor ebx, ebx
  a.code(0x4d, 0x89, 0xf0); //                 mov r8, r14
  a.code(0x49, 0xc1, 0xe0, 0x20); //           shl r8, 32              this round's stamp
  a.code(0x4d, 0x8d, 0x4e, 0xff); //           lea r9, [r14-1]
  a.code(0x49, 0xc1, 0xe1, 0x20); //           shl r9, 32              the former round's
  a.label('word');
  a.code(0x48, 0x89, 0xda); //                 mov rdx, rbx
  a.code(0x48, 0xc1, 0xea, 0x09); //           shr rdx, 9              index
  a.code(0x48, 0x89, 0xd0); //                 mov rax, rdx
  a.code(0x48, 0x21, 0xe8); //                 and rax, rbp
  a.code(0x4c, 0x09, 0xc8); //                 or rax, r9              what must stand here
  a.code(0x49, 0x39, 0x44, 0x1d, 0x00); //     cmp [r13+rbx], rax
  a.code(0x74, 0x03); //                       je +3
  a.code(0x49, 0xff, 0xc7); //                 inc r15
  a.code(0x4c, 0x09, 0xc2); //                 or rdx, r8
  a.code(0x49, 0x89, 0x54, 0x1d, 0x00); //     mov [r13+rbx], rdx
  a.code(0x48, 0x81, 0xc3, 0, 2, 0, 0); //     add rbx, 512
  a.code(0x4c, 0x39, 0xe3); //                 cmp rbx, r12
  a.toLabel([0x0f, 0x82], 'word'); //          jb word

  a.code(0x4c, 0x89, 0xf0); //                 mov rax, r14
  a.toLabel([0x48, 0x8d, 0x3d], 'roundDigits'); // lea rdi, [roundDigits]
  a.toLabel([0xe8], 'hex'); //                 call hex
  a.code(0x4c, 0x89, 0xf8); //                 mov rax, r15
  a.toLabel([0x48, 0x8d, 0x3d], 'errorDigits'); // lea rdi, [errorDigits]
  a.toLabel([0xe8], 'hex'); //                 call hex
  a.code(0xbf, 1, 0, 0, 0); //                 mov edi, 1
  a.toLabel([0x48, 0x8d, 0x35], 'report'); //  lea rsi, [report]
  a.code(0xba, 47, 0, 0, 0); //                mov edx, 47
  a.code(0x45, 0x31, 0xd2); //                 xor r10d, r10d          at offset 0
  a.syscall('pwrite');
  a.toLabel([0x48, 0x8d, 0x3d], 'pause'); //   lea rdi, [pause]
  a.code(0x31, 0xf6); //                       xor esi, esi
  a.syscall('nanosleep');
  a.code(0x49, 0xff, 0xc6); //                 inc r14
  a.code(0x48, 0xc7, 0xc5, 0xff, 0xff, 0xff, 0xff); // mov rbp, -1
  a.toLabel([0xe9], 'round'); //               jmp round

  a.label('fail');
  a.code(0xbf, 1, 0, 0, 0); //                 mov edi, 1
  a.syscall('exit');

  // decimal: rsi text → rax
  a.label('decimal');
  a.code(0x31, 0xc0); //                       xor eax, eax
  a.label('digit');
  a.code(0x0f, 0xb6, 0x0e); //                 movzx ecx, byte [rsi]
  a.code(0x83, 0xe9, 0x30); //                 sub ecx, '0'
  a.code(0x83, 0xf9, 0x09); //                 cmp ecx, 9
  a.toLabel([0x0f, 0x87], 'decimalEnd'); //    ja decimalEnd
  a.code(0x48, 0x6b, 0xc0, 0x0a); //           imul rax, rax, 10
  a.code(0x48, 0x01, 0xc8); //                 add rax, rcx
  a.code(0x48, 0xff, 0xc6); //                 inc rsi
  a.toLabel([0xe9], 'digit'); //               jmp digit
  a.label('decimalEnd').code(0xc3); //         ret

  // hex: rax → 16 digits at rdi
  a.label('hex');
  a.code(0xb9, 16, 0, 0, 0); //                mov ecx, 16
  a.label('nibble');
  a.code(0x48, 0xc1, 0xc0, 0x04); //           rol rax, 4
  a.code(0x89, 0xc2); //                       mov edx, eax
  a.code(0x83, 0xe2, 0x0f); //                 and edx, 15
  a.code(0x83, 0xfa, 0x0a); //                 cmp edx, 10
  a.code(0x72, 0x03); //                       jb +3
  a.code(0x83, 0xc2, 0x27); //                 add edx, 'a' - '0' - 10
  a.code(0x83, 0xc2, 0x30); //                 add edx, '0'
  a.code(0x88, 0x17); //                       mov [rdi], dl
  a.code(0x48, 0xff, 0xc7); //                 inc rdi
  a.code(0xff, 0xc9); //                       dec ecx
  a.toLabel([0x0f, 0x85], 'nibble'); //        jnz nibble
  a.code(0xc3); //                             ret

  a.label('report').data(Buffer.from('round='));
  a.label('roundDigits').data(Buffer.from(`${'0'.repeat(16)} errors=`));
  a.label('errorDigits').data(Buffer.from(`${'0'.repeat(16)}\n`));
  a.label('pause').data(Buffer.alloc(8));
  a.label('pauseNs').data(Buffer.alloc(8));
  return a.elf(0);
}
