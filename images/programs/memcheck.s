/*
 * memcheck MIB PAUSE_MS: a witness that memory survives migration, swap and restore. It maps MIB mebibytes and goes over
 * them in rounds. Every 512 bytes lies a word `round << 32 | index`; each round first checks that the word is the one that
 * the round before wrote, counts it as an error if not, then writes its own. After each round it writes
 * `round=... errors=...` (16 hexadecimal digits each) at the start of its standard output, a file, and pauses.
 *
 * r12 bytes, r13 base, r14 round, r15 errors, rbx offset, rbp 0 in the first round (memory is still zero), -1 afterwards.
 */
        .include "syscalls.inc"
        .intel_syntax noprefix
        .globl  _start
        .text
_start: mov     rsi, [rsp + 16]         /* argv[1] */
        call    decimal
        mov     r12, rax
        shl     r12, 20
        mov     rsi, [rsp + 24]         /* argv[2] */
        call    decimal
        xor     edx, edx
        mov     ecx, 1000
        div     rcx                     /* rax seconds, rdx milliseconds */
        mov     [rip + pause], rax
        imul    rdx, rdx, 1000000
        mov     [rip + pause + 8], rdx

        xor     edi, edi
        mov     rsi, r12
        mov     edx, 3                  /* readable and writable */
        mov     r10d, 0x22              /* private, anonymous */
        mov     r8, -1
        xor     r9d, r9d
        mov     eax, SYS_mmap
        syscall
        cmp     rax, -4095
        jae     fail
        mov     r13, rax
        mov     r14d, 1
        xor     r15d, r15d
        xor     ebp, ebp

round:  xor     ebx, ebx
        mov     r8, r14
        shl     r8, 32                  /* this round's stamp */
        lea     r9, [r14 - 1]
        shl     r9, 32                  /* the former round's */
next:   mov     rdx, rbx
        shr     rdx, 9                  /* index */
        mov     rax, rdx
        and     rax, rbp
        or      rax, r9                 /* what must stand here */
        cmp     [r13 + rbx], rax
        je      right
        inc     r15
right:  or      rdx, r8
        mov     [r13 + rbx], rdx
        add     rbx, 512
        cmp     rbx, r12
        jb      next

        mov     rax, r14
        lea     rdi, [rip + rounds]
        call    hex
        mov     rax, r15
        lea     rdi, [rip + errors]
        call    hex
        mov     edi, 1
        lea     rsi, [rip + report]
        mov     edx, OFFSET report_bytes
        xor     r10d, r10d              /* at offset 0 */
        mov     eax, SYS_pwrite64
        syscall
        lea     rdi, [rip + pause]
        xor     esi, esi
        mov     eax, SYS_nanosleep
        syscall
        inc     r14
        mov     rbp, -1
        jmp     round

fail:   mov     edi, 1
        mov     eax, SYS_exit
        syscall

/* rsi: decimal text. rax: its value. */
decimal:
        xor     eax, eax
digit:  movzx   ecx, BYTE PTR [rsi]
        sub     ecx, '0'
        cmp     ecx, 9
        ja      decimal_end
        imul    rax, rax, 10
        add     rax, rcx
        inc     rsi
        jmp     digit
decimal_end:
        ret

/* rax: a value. Writes its 16 digits at rdi. */
hex:    mov     ecx, 16
nibble: rol     rax, 4
        mov     edx, eax
        and     edx, 15
        cmp     edx, 10
        jb      below
        add     edx, 'a' - '0' - 10
below:  add     edx, '0'
        mov     [rdi], dl
        inc     rdi
        dec     ecx
        jnz     nibble
        ret

        .data
report: .ascii  "round="
rounds: .ascii  "0000000000000000 errors="
errors: .ascii  "0000000000000000\n"
        .set    report_bytes, . - report
pause:  .quad   0, 0
