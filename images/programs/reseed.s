/*
 * reseed <FILE: credits what it reads to the kernel's entropy pool and reseeds the generator at once. Clones of one
 * snapshot would otherwise draw the same "random" numbers, for up to a minute, and make the same keys.
 *
 * The kernel's rand_pool_info lies at `pool`: bits, bytes, data. r12 is the descriptor of /dev/urandom.
 */
        .include "syscalls.inc"
        .set    chunk_bytes, 512
        .set    O_RDWR, 2
        .set    RNDADDENTROPY, 0x40085203
        .set    RNDRESEEDCRNG, 0x5207
        .intel_syntax noprefix
        .globl  _start
        .text
_start: lea     rdi, [rip + device]
        mov     esi, O_RDWR
        mov     eax, SYS_open
        syscall
        test    eax, eax
        js      fail
        mov     r12d, eax

chunk:  xor     edi, edi
        lea     rsi, [rip + pool_data]
        mov     edx, chunk_bytes
        mov     eax, SYS_read
        syscall
        test    eax, eax
        jle     reseed
        mov     [rip + pool + 4], eax   /* bytes */
        shl     eax, 3
        mov     [rip + pool], eax       /* bits */
        mov     edi, r12d
        mov     esi, RNDADDENTROPY
        lea     rdx, [rip + pool]
        mov     eax, SYS_ioctl
        syscall
        jmp     chunk

reseed: mov     edi, r12d
        mov     esi, RNDRESEEDCRNG
        xor     edx, edx
        mov     eax, SYS_ioctl
        syscall
        xor     edi, edi
        test    eax, eax
        jns     end
fail:   mov     edi, 1
end:    mov     eax, SYS_exit
        syscall

        .data
device: .asciz  "/dev/urandom"
        .balign 4
pool:   .long   0, 0
pool_data:
        .skip   chunk_bytes
