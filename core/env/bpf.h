/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
#ifndef SLUICE_CORE_ENV_BPF_H
#define SLUICE_CORE_ENV_BPF_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))

#ifndef __force /* sparse's, in the kernel */
#define __force
#endif

/* A function that is large, and called from several places. */
#define sluice_outline static __attribute__((noinline, unused))

#define sluice_step static __attribute__((noinline)) long
#define sluice_repeat(n, step, ctx) bpf_loop((n), (step), (ctx), 0)

/* Of what an atomic addition leaves behind the verifier knows nothing. */
static __always_inline void sluice_add(__u32 *count, __u32 n)
{
	__sync_fetch_and_add(count, n);
}

/*
 * memcpy() of what may not be aligned goes byte by byte here, four times the instructions; but every machine that
 * compiles BPF into its own code takes a load as it is.
 */
typedef __u16 __attribute__((__may_alias__)) sluice_any16;
typedef __u32 __attribute__((__may_alias__)) sluice_any32;
typedef __u64 __attribute__((__may_alias__)) sluice_any64;

static __always_inline void sluice_copy(void *d, const void *s, __u32 n)
{
	switch (n) {
	case 2:
		*(sluice_any16 *)d = *(const sluice_any16 *)s;
		break;
	case 4:
		*(sluice_any32 *)d = *(const sluice_any32 *)s;
		break;
	case 16:
		((sluice_any64 *)d)[1] = ((const sluice_any64 *)s)[1];
		__attribute__((__fallthrough__));
	case 8:
		*(sluice_any64 *)d = *(const sluice_any64 *)s;
	}
}

#define sluice_settle(x) asm volatile("" : "+r"(x))
#define sluice_forget() asm volatile("" : : : "memory")

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define sluice_htons(x) ((__be16)__builtin_bswap16(x))
#define sluice_ntohs(x) __builtin_bswap16(x)
#define sluice_htonl(x) ((__be32)__builtin_bswap32(x))
#define sluice_ntohl(x) __builtin_bswap32(x)
#else
#define sluice_htons(x) (x)
#define sluice_ntohs(x) (x)
#define sluice_htonl(x) (x)
#define sluice_ntohl(x) (x)
#endif

#ifndef memcpy
#define memcpy(d, s, n) __builtin_memcpy((d), (s), (n))
#endif
#ifndef memset
#define memset(d, c, n) __builtin_memset((d), (c), (n))
#endif

/*
 * No instruction; clang adds up pairs, nibbles and bytes, without a table, in 20 steps. What is asked most often, the
 * bits before the first word of a row, are none.
 */
static __always_inline __u32 sluice_popcount64(__u64 x)
{
	return x ? (__u32)__builtin_popcountll(x) : 0;
}

/*
 * Index of the lowest set bit; x is not 0. No instruction either, and clang's replacement is a look-up in
 * .rodata, a map that nobody wants: hidden from it. Halving needs fewer steps than counting what is below, but each is
 * a branch, and the verifier walks all 64 ways.
 */
static __always_inline __u32 sluice_ctz64(__u64 x)
{
	x &= -x;
	sluice_settle(x);
	return sluice_popcount64(x - 1);
}

#define sluice_ruleset_ref __u32 /* a slot; 0: none */

struct sluice_blob {
	void *map;
	const char *first; /* its first piece, where most of what is read stands */
	bool failed;
};

static __always_inline bool sluice_blob_open(struct sluice_blob *b, void *map)
{
	__u32 zero = 0;

	b->map = map;
	b->first = bpf_map_lookup_elem(map, &zero);
	b->failed = false;
	return b->first;
}

static __always_inline bool sluice_blob_failed(const struct sluice_blob *b)
{
	return b->failed;
}

/* The piece that holds an offset. */
static __always_inline const char *sluice_blob_piece(struct sluice_blob *b, __u32 off)
{
	__u32 piece = off / SLUICE_BLOB_PIECE;
	const char *p = b->first;

	/* What the branch says about the piece must not stay with off, or each load would have two ends. */
	sluice_settle(piece);
	if (piece) {
		__u32 key = piece; /* on the stack here alone */

		p = bpf_map_lookup_elem(b->map, &key);
		if (!p) {
			p = b->first; /* anything that can be read */
			b->failed = true;
		}
	}
	return p;
}

static __always_inline __u8 sluice_blob_u8(struct sluice_blob *b, __u32 off)
{
	return *(const __u8 *)(sluice_blob_piece(b, off) + (off & (SLUICE_BLOB_PIECE - 1)));
}

static __always_inline __u32 sluice_blob_u32(struct sluice_blob *b, __u32 off)
{
	return *(const __u32 *)(sluice_blob_piece(b, off) + (off & (SLUICE_BLOB_PIECE - 4)));
}

static __always_inline __u64 sluice_blob_u64(struct sluice_blob *b, __u32 off)
{
	return *(const __u64 *)(sluice_blob_piece(b, off) + (off & (SLUICE_BLOB_PIECE - 8)));
}

#endif
