/* SPDX-License-Identifier: GPL-2.0-only */
/* What translation does to checksums and ports; the sums are core/nat.h's. */
#ifndef SLUICE_KMOD_TRANSLATE_H
#define SLUICE_KMOD_TRANSLATE_H

#include <linux/skbuff.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/checksum.h>

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

/* The checksum of TCP or UDP that covers the addresses; NULL: the sender left it out. */
static __always_inline __sum16 *sluice_transport_check(const struct sk_buff *skb, void *l4,
						       u8 proto)
{
	struct udphdr *uh = l4;

	if (proto == SLUICE_PROTO_TCP)
		return &((struct tcphdr *)l4)->check;
	return uh->check || skb->ip_summed == CHECKSUM_PARTIAL ? &uh->check : NULL;
}

/* TCP or UDP at l4, which is writable. */
static __always_inline void sluice_translate_ports(struct sk_buff *skb, void *l4, u8 proto,
						   const struct sluice_nat_delta *d, __be16 sport,
						   __be16 dport)
{
	__sum16 *check = sluice_transport_check(skb, l4, proto);
	__be16 *ports = l4;

	ports[0] = sport;
	ports[1] = dport;
	if (!check)
		return;
	sluice_update_check(skb, check, d);
	if (proto == SLUICE_PROTO_UDP && !*check)
		*check = CSUM_MANGLED_0; /* 0 would mean: no checksum */
}

#endif
