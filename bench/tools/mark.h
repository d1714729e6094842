/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Marks around what is measured, for bench/profile: QEMU's plugin counts instructions between them.
 * A mark is a no-op whose displacement nobody else uses; without the plugin it is just that.
 */
#ifndef SLUICE_BENCH_MARK_H
#define SLUICE_BENCH_MARK_H

#define MARK_BEGIN 0x534c4231 /* "1BLS" in memory */
#define MARK_END 0x534c4530

/* nopl MARK(%rax,%rax,1): 0f 1f 84 00 and the displacement, little endian */
#define MARK_INSTRUCTION(displacement) ".byte 0x0f, 0x1f, 0x84, 0x00\n.long " #displacement "\n"
#define MARK(displacement) __asm__ volatile(MARK_INSTRUCTION(displacement)::: "memory")

static inline void mark_begin(void)
{
	MARK(0x534c4231);
}

static inline void mark_end(void)
{
	MARK(0x534c4530);
}

#endif
