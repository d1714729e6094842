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
 * Index of the lowest set bit; x is not 0. BPF has no such instruction, and clang's replacement is
 * a table look-up in .rodata; six compares need no map.
 */
static __always_inline __u32 sluice_ctz64(__u64 x)
{
	__u32 n = 0;

	if (!(x & 0xffffffffULL)) {
		n += 32;
		x >>= 32;
	}
	if (!(x & 0xffff)) {
		n += 16;
		x >>= 16;
	}
	if (!(x & 0xff)) {
		n += 8;
		x >>= 8;
	}
	if (!(x & 0xf)) {
		n += 4;
		x >>= 4;
	}
	if (!(x & 0x3)) {
		n += 2;
		x >>= 2;
	}
	return n + !(x & 1);
}

/* No instruction either; clang adds up pairs, nibbles and bytes, without a table, in 20 steps; 0 and 1 are frequent. */
static __always_inline __u32 sluice_popcount64(__u64 x)
{
	return x < 2 ? (__u32)x : (__u32)__builtin_popcountll(x);
}

struct sluice_blob {
	void *map;
	const char *first; /* its first piece, where most of what is read stands */
	bool failed;
};

static __always_inline void sluice_blob_open(struct sluice_blob *b, const void *blob)
{
	__u32 zero = 0;

	b->map = (void *)blob;
	b->first = bpf_map_lookup_elem(b->map, &zero);
	b->failed = !b->first;
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
	asm volatile("" : "+r"(piece));
	if (piece)
		p = bpf_map_lookup_elem(b->map, &piece);
	if (!p)
		b->failed = true;
	return p;
}

static __always_inline __u8 sluice_blob_u8(struct sluice_blob *b, __u32 off)
{
	const char *p = sluice_blob_piece(b, off);

	return p ? *(const __u8 *)(p + (off & (SLUICE_BLOB_PIECE - 1))) : 0;
}

static __always_inline __u32 sluice_blob_u32(struct sluice_blob *b, __u32 off)
{
	const char *p = sluice_blob_piece(b, off);

	return p ? *(const __u32 *)(p + (off & (SLUICE_BLOB_PIECE - 4))) : 0;
}

static __always_inline __u64 sluice_blob_u64(struct sluice_blob *b, __u32 off)
{
	const char *p = sluice_blob_piece(b, off);

	return p ? *(const __u64 *)(p + (off & (SLUICE_BLOB_PIECE - 8))) : 0;
}

#endif
