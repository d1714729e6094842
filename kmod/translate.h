/* SPDX-License-Identifier: GPL-2.0-only */
/* What translation does to checksums; the fields are core/nat.h's. */
#ifndef SLUICE_KMOD_TRANSLATE_H
#define SLUICE_KMOD_TRANSLATE_H

#include <linux/skbuff.h>

#include "core/nat.h"

/*
 * The card summed the packet as it came. Its sum would have to follow the pseudo-header; the transport's
 * own check is still good, so the receiver just sums again.
 */
static __always_inline void sluice_forget_sum(struct sk_buff *skb)
{
	if (skb->ip_summed == CHECKSUM_COMPLETE)
		skb->ip_summed = CHECKSUM_NONE;
}

/*
 * A checksum with a pseudo-header. Where hardware (or the far end of a veth) is to finish it, the
 * field holds the sum of the pseudo-header alone, not complemented.
 */
static __always_inline void sluice_update_check(struct sk_buff *skb, __sum16 *check,
						const struct sluice_nat_delta *d)
{
	u16 old = (__force u16)*check;

	if (skb->ip_summed == CHECKSUM_PARTIAL)
		*check = (__force __sum16)sluice_csum_fold(sluice_csum_add(old, d->addr));
	else
		*check = (__force __sum16)sluice_csum_apply(old, sluice_csum_add(d->addr, d->port));
}

#endif
