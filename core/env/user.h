/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
#ifndef SLUICE_CORE_ENV_USER_H
#define SLUICE_CORE_ENV_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#ifndef __force /* sparse's, in the kernel */
#define __force
#endif

/* A function that is large, and called from several places. */
#define sluice_outline static __attribute__((noinline, unused))

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
	return (__u32)__builtin_ctzll(x);
}

static __always_inline __u32 sluice_popcount64(__u64 x)
{
	return (__u32)__builtin_popcountll(x);
}

#endif
