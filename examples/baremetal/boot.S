/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* From a PVH loader (32-bit protected mode, no paging) to main() in 64 bits,
 * with the first 512 GiB mapped one to one. */

#define PAGE_PRESENT 0x003 /* present, writable */
#define PAGE_LARGE   0x083 /* 2 MiB */

	/* XEN_ELFNOTE_PHYS32_ENTRY: what makes the image a PVH one. */
	.section .note.pvh, "a", @note
	.align 4
	.long 4, 4, 18
	.asciz "Xen"
	.align 4
	.long pvh_start

	.section .text.boot, "ax"
	.code32
	.globl pvh_start
pvh_start:
	cli
	cld
	movl $stack_end, %esp

	/* One top-level entry, 512 page directories of 1 GiB each. */
	movl $(pdpt + PAGE_PRESENT), pml4
	movl $pdpt, %edi
	movl $(page_dirs + PAGE_PRESENT), %eax
	movl $512, %ecx
1:	movl %eax, (%edi)
	movl $0, 4(%edi)
	addl $4096, %eax
	addl $8, %edi
	loop 1b

	/* 512 * 512 pages of 2 MiB: low word in eax, high word in edx. */
	movl $page_dirs, %edi
	movl $PAGE_LARGE, %eax
	xorl %edx, %edx
	movl $(512 * 512), %ecx
2:	movl %eax, (%edi)
	movl %edx, 4(%edi)
	addl $0x200000, %eax
	adcl $0, %edx
	addl $8, %edi
	loop 2b

	movl $pml4, %eax
	movl %eax, %cr3
	movl %cr4, %eax
	orl $0x20, %eax			/* PAE */
	movl %eax, %cr4
	movl $0xc0000080, %ecx		/* EFER */
	rdmsr
	orl $0x100, %eax		/* LME */
	wrmsr
	movl %cr0, %eax
	orl $0x80000001, %eax		/* PG, PE */
	movl %eax, %cr0
	lgdt gdt_pointer
	ljmp $8, $long_mode

	.code64
long_mode:
	movl $16, %eax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	xorl %ebp, %ebp
	call main
	/* main's result is the exit status of QEMU: (result << 1) | 1. */
	movw $0xf4, %dx
	outl %eax, %dx
3:	hlt
	jmp 3b

	.section .rodata
	.align 8
gdt:
	.quad 0
	.quad 0x00af9a000000ffff	/* code, 64 bits */
	.quad 0x00cf92000000ffff	/* data */
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	.section .bss
	.align 4096
pml4:	.skip 4096
pdpt:	.skip 4096
page_dirs: .skip 512 * 4096
stack:	.skip 65536
stack_end:

	.section .note.GNU-stack, "", @progbits
