/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The platform under core/. These four files hold the only #ifdefs of the folder.
 *
 * Each env file provides: the fixed-width types (__u8 .. __u64, __be16, __be32), bool, NULL,
 * __always_inline, sluice_outline, byte swaps, memcpy/memset/memcmp of constant size, sluice_ctz64(),
 * sluice_popcount64(), sluice_copy(d, s, n) of 2, 4, 8 or 16 bytes, which need not be aligned in a packet; and what a
 * BPF program does in another way than others:
 *
 * Blobs. A run of bytes of any length that is read at offsets out of itself (core/ruleset.h). Elsewhere it is
 * memory. In BPF the verifier wants to see that each load stays inside, so that the blob is cut into pieces of
 * SLUICE_BLOB_PIECE bytes, elements of a map. Either is read by sluice_blob_u8(), _u32() and _u64() at offsets
 * that are multiples of the size. Where a piece is not there, anything is read, and sluice_blob_failed() says so
 * from then on: whoever reads decides nothing then. sluice_ruleset_ref names a ruleset: a pointer, or the slot of a map.
 *
 * Loops. sluice_repeat(n, step, ctx) calls step(i, ctx) for i = 0, 1, ... n - 1, or until it returns
 * other than 0. In BPF the verifier looks at each step once, not n times; ctx is on the caller's stack. A step is
 * declared "sluice_step name(__u32 i, void *ctx)". What a step counts, it counts by sluice_add(): else the verifier
 * knows the count, and looks again for each. Loops of few rounds, which the verifier may walk, are plain ones.
 *
 * Ways. The verifier follows each way through a program, with all it knows of each register. sluice_settle(x): what is
 * computed from x comes after this line, when x has been compared. sluice_forget(): what stands in memory is read
 * anew, and is anything: ways that differ in it alone are one from here. Elsewhere neither means anything.
 */
#ifndef SLUICE_CORE_ENV_H
#define SLUICE_CORE_ENV_H

/* Small rulesets are one piece. In a map, with what the kernel puts before it, 8 KiB of memory each. */
#define SLUICE_BLOB_PIECE 4096U

#if defined(__KERNEL__)
#include "env/kernel.h"
#elif defined(__bpf__)
#include "env/bpf.h"
#else
#include "env/user.h"
#endif

#ifndef __bpf__
struct sluice_ruleset;

#define sluice_step static __always_inline long

#define sluice_repeat(n, step, ctx)                \
	do {                                       \
		__u32 i_ = 0;                      \
		while (i_ < (n) && !step(i_, ctx)) \
			i_++;                      \
	} while (0)

static __always_inline void sluice_add(__u32 *count, __u32 n)
{
	*count += n;
}

#define sluice_ruleset_ref const struct sluice_ruleset *

struct sluice_blob {
	const char *bytes;
};

static __always_inline bool sluice_blob_failed(const struct sluice_blob *b)
{
	(void)b;
	return false;
}

static __always_inline __u8 sluice_blob_u8(const struct sluice_blob *b, __u32 off)
{
	return *(const __u8 *)(b->bytes + off);
}

static __always_inline __u32 sluice_blob_u32(const struct sluice_blob *b, __u32 off)
{
	return *(const __u32 *)(const void *)(b->bytes + off);
}

static __always_inline __u64 sluice_blob_u64(const struct sluice_blob *b, __u32 off)
{
	return *(const __u64 *)(const void *)(b->bytes + off);
}
#endif

#define SLUICE_ASSERT_SIZE(type, size) \
	_Static_assert(sizeof(type) == (size), #type " has holes or grew")

#endif
