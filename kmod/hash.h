/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hashing, and random numbers that need not be secret, both by wyhash's step: a 64 x 64 -> 128 bit
 * product, folded. Hashes are keyed by a secret of this boot: nobody outside can make keys that share a
 * bucket. 12 instructions for an IPv4 tuple, 24 for IPv6; SipHash, which protects the same way, takes
 * some 120, jhash 40.
 */
#ifndef SLUICE_KMOD_HASH_H
#define SLUICE_KMOD_HASH_H

#include <linux/math64.h>
#include <linux/percpu.h>

#include "core/tuple.h"

extern u64 sluice_hash_secret[2]; /* odd; written once, at load */
DECLARE_PER_CPU(u64, sluice_random_state); /* by its CPU alone, in any context */

/* Each output bit depends on all input bits. */
static __always_inline u64 sluice_hash_mix(u64 a, u64 b)
{
#ifdef __SIZEOF_INT128__
	__uint128_t p = (__uint128_t)a * b;

	return (u64)p ^ (u64)(p >> 64);
#else
	return mul_u64_u64_shr(a, b, 64) ^ (a * b);
#endif
}

static __always_inline u32 sluice_hash_fold(u64 h)
{
	return (u32)(h ^ h >> 32);
}

static __always_inline u32 sluice_hash_u32(u32 value, u32 seed)
{
	return sluice_hash_fold(
		sluice_hash_mix(value ^ sluice_hash_secret[0], seed ^ sluice_hash_secret[1]));
}

/* An address and 32 bits more. */
static __always_inline u32 sluice_hash_addr(const struct sluice_addr *a, u8 family, u32 more,
					    u32 seed)
{
	u64 h;

	if (family == SLUICE_IPV4)
		return sluice_hash_fold(sluice_hash_mix(((u64)more << 32 | (__force u32)a->w[0]) ^
								sluice_hash_secret[0],
							seed ^ sluice_hash_secret[1]));
	h = sluice_hash_mix(
		((u64)(__force u32)a->w[0] << 32 | (__force u32)a->w[1]) ^ sluice_hash_secret[0],
		((u64)(__force u32)a->w[2] << 32 | (__force u32)a->w[3]) ^ sluice_hash_secret[1]);
	return sluice_hash_fold(sluice_hash_mix(h ^ sluice_hash_secret[1],
						((u64)more << 32 | seed) ^ sluice_hash_secret[0]));
}

/*
 * For choosing a backend (wyrand: a Weyl sequence a CPU, mixed). get_random_u32() is for what must be
 * hard to guess; it costs 170 instructions.
 */
static inline u32 sluice_random_u32(void)
{
	u64 s = this_cpu_add_return(sluice_random_state, 0xa0761d6478bd642fULL);

	return sluice_hash_fold(sluice_hash_mix(s, s ^ 0xe7037ed1a0b428dbULL));
}

void sluice_hash_module_init(void);

#endif
