// SPDX-License-Identifier: GPL-2.0-only
/*
 * ICMP errors belong to the connection of the packet they complain about.
 *
 * That packet was sent in some direction d and left here as out = inverse(tuple[!d]); the error
 * embeds it so. The inverse of the embedded tuple is therefore tuple[!d], which is what the table is
 * searched for, and the entry found names the direction that the error itself travels in: !d,
 * towards the sender of the packet. Translation makes the embedded packet look as its sender
 * sent it: tuple[d].
 *
 * Worked example: client C:1000 -> VIP V:80, translated to backend B:9000; a router R on the way to B
 * answers "fragmentation needed" to C, embedding C:1000 -> B:9000. Inverse: B:9000 -> C:1000, the
 * reply entry, so d is original. The error reaches C embedding C:1000 -> V:80, still from R. Had B
 * itself answered "port unreachable", its source would become V: C knows no B.
 */
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/ip6_checksum.h>

#include "net.h"
#include "path.h"
#include "stats.h"

/* Sum over the ICMP message, pseudo-header included for ICMPv6; 0 when it is right. */
static __sum16 message_sum(struct sk_buff *skb, unsigned int off)
{
	unsigned int len = skb->len - skb_network_offset(skb) - off;
	__wsum sum = skb_checksum(skb, skb_network_offset(skb) + off, len, 0);

	if (ip_hdr(skb)->version == 4)
		return csum_fold(sum);
	return csum_ipv6_magic(&ipv6_hdr(skb)->saddr, &ipv6_hdr(skb)->daddr, len, IPPROTO_ICMPV6,
			       sum);
}

static void rewrite_inner(struct sk_buff *skb, const struct sluice_packet *pkt,
			  const struct sluice_tuple *to)
{
	u8 *inner = skb_network_header(skb) + pkt->inner_off;
	u8 *l4 = skb_network_header(skb) + pkt->inner_l4_off;

	if (to->family == SLUICE_IPV4) {
		struct iphdr *iph = (void *)inner;

		iph->saddr = to->src.w[0];
		iph->daddr = to->dst.w[0];
		ip_send_check(iph);
	} else {
		struct ipv6hdr *ip6 = (void *)inner;

		memcpy(&ip6->saddr, &to->src, 16);
		memcpy(&ip6->daddr, &to->dst, 16);
	}
	switch (to->proto) {
	case SLUICE_PROTO_TCP:
	case SLUICE_PROTO_UDP:
	case SLUICE_PROTO_SCTP:
		memcpy(l4, &to->sport, 2);
		memcpy(l4 + 2, &to->dport, 2);
		break;
	case SLUICE_PROTO_ICMP:
	case SLUICE_PROTO_ICMPV6:
		memcpy(l4 + 4, to->sport ? &to->sport : &to->dport, 2);
		break;
	}
}

static int rewrite_error(struct sk_buff *skb, const struct sluice_packet *pkt,
			 const struct sluice_tuple *inner, const struct sluice_addr *src,
			 const struct sluice_addr *dst)
{
	unsigned int off = pkt->l4_off;
	__sum16 *check;

	/* The embedded packet may lie in fragments of the skb; errors are short (RFC 1812, 576). */
	if (skb_linearize(skb) || skb_ensure_writable(skb, skb->len))
		return -ENOMEM;
	skb->ip_summed = CHECKSUM_NONE;
	rewrite_inner(skb, pkt, inner);
	if (inner->family == SLUICE_IPV4) {
		struct iphdr *iph = ip_hdr(skb);

		iph->saddr = src->w[0];
		iph->daddr = dst->w[0];
		ip_send_check(iph);
		check = &((struct icmphdr *)(skb_network_header(skb) + off))->checksum;
	} else {
		memcpy(&ipv6_hdr(skb)->saddr, src, 16);
		memcpy(&ipv6_hdr(skb)->daddr, dst, 16);
		check = &((struct icmp6hdr *)(skb_network_header(skb) + off))->icmp6_cksum;
	}
	*check = 0;
	*check = message_sum(skb, off);
	return 0;
}

enum sluice_act sluice_icmp_error(struct sluice_ctx *x)
{
	struct sluice_tuple key, sent, seen;
	struct sluice_addr src, dst;
	struct sluice_conn *c;
	u8 dir;

	sluice_tuple_invert(&key, &x->pkt.inner);
	c = sluice_conn_find(x->sn->conns, &key, &dir);
	if (!c) {
		/* From elsewhere it is about a flow that is not ours; a pod has no other flows. */
		if (x->from == SLUICE_FROM_POD)
			return sluice_drop(x, SLUICE_REASON_ICMP_UNRELATED);
		if (x->from == SLUICE_FROM_OUTSIDE && sluice_concerns_pod(x->sn, &x->pkt.tuple))
			return sluice_drop(x, SLUICE_REASON_ICMP_UNRELATED);
		return SLUICE_ACT_STACK;
	}
	if (test_bit(SLUICE_CONN_BIT_DENIED, &c->bits))
		return sluice_drop(x, c->reason);
	/* A pod may only complain about packets that were sent to it. */
	if (x->from == SLUICE_FROM_POD &&
	    READ_ONCE(c->side[dir]) != ((unsigned long)x->dev | SLUICE_SIDE_POD))
		return sluice_drop(x, SLUICE_REASON_SPOOFED_SOURCE);

	sluice_conn_tuple(c, !dir, &sent);
	if (!test_bit(SLUICE_CONN_BIT_NAT, &c->bits))
		return sluice_output(x, c, !dir, NULL, false);

	/*
	 * A wrong sum would be made right by recomputing it. Pods sum in software or leave ICMP alone,
	 * so only what the hardware has not yet checked is looked at.
	 */
	if (x->skb->ip_summed == CHECKSUM_NONE && message_sum(x->skb, x->pkt.l4_off))
		return sluice_drop(x, SLUICE_REASON_BAD_CHECKSUM);

	seen = x->pkt.inner;
	src = x->pkt.tuple.src;
	if (sluice_addr_equal(&src, &seen.dst))
		src = sent.dst;
	dst = sent.src;
	if (rewrite_error(x->skb, &x->pkt, &sent, &src, &dst))
		return sluice_drop(x, SLUICE_REASON_NO_MEMORY);
	return sluice_output(x, c, !dir, NULL, !sluice_addr_equal(&dst, &x->pkt.tuple.dst));
}
