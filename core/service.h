/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Service selection. */
#ifndef SLUICE_CORE_SERVICE_H
#define SLUICE_CORE_SERVICE_H

#include "tuple.h"

/* What a service is found by. */
struct sluice_service_key {
	struct sluice_addr addr;
	__be16 port;
	__u8 proto;
	__u8 family;
};
SLUICE_ASSERT_SIZE(struct sluice_service_key, 20);

/*
 * An index in [0, n) from 32 random bits, without division: the high word of their product.
 * Its bias is below n / 2^32: 1 in 17,000 for the 250,000th backend of one service.
 */
static __always_inline __u32 sluice_service_pick(__u32 random, __u32 n)
{
	return (__u32)(((__u64)random * n) >> 32);
}

#endif
