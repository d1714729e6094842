/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
#ifndef SLUICE_CORE_ENV_KERNEL_H
#define SLUICE_CORE_ENV_KERNEL_H

#include <linux/bitops.h>
#include <linux/compiler.h>
#include <linux/string.h>
#include <linux/types.h>
#include <asm/byteorder.h>

/* A function that is large, and called from several places. */
#define sluice_outline static noinline __maybe_unused

#define sluice_copy(d, s, n) memcpy((d), (s), (n))
#define sluice_settle(x) ((void)(x))
#define sluice_forget() ((void)0)

#define sluice_htons(x) htons(x)
#define sluice_ntohs(x) ntohs(x)
#define sluice_htonl(x) htonl(x)
#define sluice_ntohl(x) ntohl(x)

/* Index of the lowest set bit; x is not 0. */
static __always_inline __u32 sluice_ctz64(__u64 x)
{
	return __ffs64(x);
}

static __always_inline __u32 sluice_popcount64(__u64 x)
{
	return hweight64(x);
}

#endif
