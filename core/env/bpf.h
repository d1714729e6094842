/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
#ifndef SLUICE_CORE_ENV_BPF_H
#define SLUICE_CORE_ENV_BPF_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))

#ifndef __force /* sparse's, in the kernel */
#define __force
#endif

/* A function that is large, and called from several places. */
#define sluice_outline static __always_inline

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
		/* fallthrough */
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

/* No instruction either; clang adds up pairs, nibbles and bytes, without a table. */
static __always_inline __u32 sluice_popcount64(__u64 x)
{
	return (__u32)__builtin_popcountll(x);
}

#endif
